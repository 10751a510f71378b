#include "internal.h"
#if defined(__x86_64__)
#include "target.h"
TARGET_BEGIN("avx2,fma")
#include "vector_avx2.h"
#include "vector_double.h"
#define SET kernel_set_avx2
#define SET_NAME "avx2"
#include "set.inc"
TARGET_END
#endif
