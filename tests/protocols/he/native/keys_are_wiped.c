/* A key is zeros when its memory is given back: owner.c and context.c, with a `free` that looks. */
#include <stdio.h>
#include <stdlib.h>

static unsigned long long expected_zeros, freed, not_zero;
static void look_and_free(void *at) {
    if (expected_zeros) {
        const unsigned char *byte = at;
        for (unsigned long long i = 0; i < expected_zeros; i++) not_zero += byte[i] != 0;
        freed++;
        expected_zeros = 0; /* the key comes first, what holds it afterwards */
    }
    free(at);
}
#define free look_and_free
#include "../../../../protocols/he/native/context.c"
#include "../../../../protocols/he/native/owner.c"

static void nothing(const modulus *m, u64 *values) { (void)m, (void)values; }
const operations kernel_set_scalar = {.name = "scalar", .lanes = 1, .forward = nothing};
#if defined(__x86_64__)
const operations kernel_set_ifma = {.name = "ifma", .lanes = 1}, kernel_set_avx2 = {.name = "avx2", .lanes = 1};
#endif
#if defined(__aarch64__)
const operations kernel_set_neon = {.name = "neon", .lanes = 1};
#endif

int main(void) {
    modulus moduli[2] = {{.p = 281474976694273}, {.p = 281474976546817}};
    kernel_context context = {.count = 2, .set = &kernel_set_scalar, .moduli = moduli};
    static int8_t ternary[N];
    for (u32 i = 0; i < N; i++) ternary[i] = (int8_t)(i % 3) - 1;
    kernel_secret *secret;
    if (kernel_secret_new(&context, ternary, &secret)) return 2;
    expected_zeros = 8 * secret->words;
    kernel_secret_free(secret);
    ternary[N - 1] = 2; /* refused when its memory is taken already */
    expected_zeros = 8 * 2 * N;
    if (kernel_secret_new(&context, ternary, &secret) != KERNEL_BAD_ARGUMENT) return 3;
    printf("%llu keys freed, %llu bytes not zero\n", freed, not_zero);
    return not_zero || freed != 2;
}
