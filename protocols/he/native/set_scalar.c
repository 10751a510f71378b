#include "internal.h"
#include "vector_scalar.h"
#define SET kernel_set_scalar
#define SET_NAME "scalar"
#include "set.inc"
