#include "internal.h"
#if defined(__x86_64__)
#include "target.h"
TARGET_BEGIN("avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")
#include "vector_ifma.h"
#define SET kernel_set_ifma
#define SET_NAME "ifma"
#include "set.inc"
TARGET_END
#endif
