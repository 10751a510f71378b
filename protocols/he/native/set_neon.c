#include "internal.h"
#if defined(__aarch64__)
#include "vector_neon.h"
#include "vector_double.h"
#define SET kernel_set_neon
#define SET_NAME "neon"
#include "set.inc"
#endif
