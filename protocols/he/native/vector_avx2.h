/* Four lanes of doubles: AVX2 with FMA. See vector_double.h. */
#include <immintrin.h>
#define LANES 4
#define LOG_LANES 2
#define PAIR_VECTORS 2 /* of each half, in sums of products */

typedef __m256d vec;
typedef __m256i words;

INLINE vec load(const u64 *at) { return _mm256_loadu_pd((const double *)(const void *)at); }
INLINE void store(u64 *at, vec x) { _mm256_storeu_pd((double *)(void *)at, x); }
INLINE vec set_lanes(double x) { return _mm256_set1_pd(x); }
INLINE vec broadcast_bits(const u64 *at) { return _mm256_broadcast_sd((const double *)(const void *)at); }
INLINE vec add(vec a, vec b) { return _mm256_add_pd(a, b); }
INLINE vec subtract(vec a, vec b) { return _mm256_sub_pd(a, b); }
INLINE vec times_lanes(vec a, vec b) { return _mm256_mul_pd(a, b); }
INLINE vec add_times(vec c, vec a, vec b) { return _mm256_fmadd_pd(a, b, c); }     /* c + a b */
INLINE vec less_times(vec c, vec a, vec b) { return _mm256_fnmadd_pd(a, b, c); }   /* c - a b */
INLINE vec round_lanes(vec x) { return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec where_negative(vec x, vec p) { return _mm256_and_pd(_mm256_cmp_pd(x, _mm256_setzero_pd(), _CMP_LT_OQ), p); }

INLINE words load_words(const u64 *at) { return _mm256_loadu_si256((const __m256i *)(const void *)at); }
INLINE void store_words(u64 *at, words x) { _mm256_storeu_si256((__m256i *)(void *)at, x); }
INLINE words broadcast_word(u64 x) { return _mm256_set1_epi64x((long long)x); }
INLINE words add_words(words a, words b) { return _mm256_add_epi64(a, b); }
INLINE words and_words(words a, words b) { return _mm256_and_si256(a, b); }
INLINE words times_words(words a, words b) { return _mm256_mul_epu32(a, b); } /* below 2^32 each */
INLINE words shift_left(words x, int bits) { return _mm256_slli_epi64(x, bits); }
INLINE words shift_right(words x, int bits) { return _mm256_srli_epi64(x, bits); }
INLINE words low_words(words x) { return _mm256_and_si256(x, _mm256_set1_epi64x(0xffffffff)); }
INLINE words high_words_flipped(words x) {
    return _mm256_srli_epi64(_mm256_xor_si256(x, _mm256_set1_epi64x((long long)(1ull << 63))), 32);
}
/* Integers below 2^52 to doubles and back, by the bits of 2^52 + x. */
INLINE vec from_words(words x) {
    vec base = _mm256_set1_pd(4503599627370496.0);
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(x, _mm256_castpd_si256(base))), base);
}
INLINE words to_words(vec x) {
    vec base = _mm256_set1_pd(4503599627370496.0);
    return _mm256_castpd_si256(_mm256_xor_pd(_mm256_add_pd(x, base), base));
}

INLINE void transpose(vec v[4]) {
    vec a = _mm256_unpacklo_pd(v[0], v[1]), b = _mm256_unpackhi_pd(v[0], v[1]);
    vec c = _mm256_unpacklo_pd(v[2], v[3]), d = _mm256_unpackhi_pd(v[2], v[3]);
    v[0] = _mm256_permute2f128_pd(a, c, 0x20);
    v[1] = _mm256_permute2f128_pd(b, d, 0x20);
    v[2] = _mm256_permute2f128_pd(a, c, 0x31);
    v[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
