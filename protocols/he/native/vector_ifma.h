/* Eight lanes of words, with AVX-512's 52-bit products. Internal values are below 2 p.
 * Whatever is multiplied must be below 2^52, which is 16 p for narrow primes and 4 p for wide ones. Products read no higher
 * bits: in a forward transform of a narrow prime these hold anything, until a value is reduced. */
#include <immintrin.h>
#define LANES 8
#define LOG_LANES 3
#define PAIR_VECTORS 4 /* of each half, in sums of products */
#define MASK_52 ((1ull << 52) - 1)

typedef __m512i vec;
typedef __m512i words;
typedef struct {
    vec value, quotient;
} factor;
typedef struct {
    vec p, twice, minus_p, one_52, mask;
    factor two_52;
} constants;
typedef struct {
    vec low, high;
} accumulator;

INLINE vec constant(u64 value) { return _mm512_set1_epi64((long long)value); }
INLINE vec broadcast_value(const u64 *at) { return constant(*at); }
INLINE vec add(vec a, vec b) { return _mm512_add_epi64(a, b); }
INLINE vec subtract(vec a, vec b) { return _mm512_sub_epi64(a, b); }
INLINE vec add_low(vec sum, vec a, vec b) { return _mm512_madd52lo_epu64(sum, a, b); }
INLINE vec add_high(vec sum, vec a, vec b) { return _mm512_madd52hi_epu64(sum, a, b); }
INLINE vec zero(void) { return _mm512_setzero_si512(); }

INLINE factor broadcast(const twiddle *w) { return (factor){constant(w->value), constant(w->quotient)}; }
INLINE constants constants_of(const modulus *m) {
    return (constants){constant(m->p), constant(2 * m->p), constant((1ull << 52) - m->p), constant(m->one_52),
                       constant(MASK_52), broadcast(&m->two_52)};
}
INLINE twiddle make_twiddle(u64 value, u64 p) { return (twiddle){value, (u64)(((u128)value << 52) / p)}; }

INLINE vec load(const u64 *at) { return _mm512_loadu_si512((const void *)at); }
INLINE void store(u64 *at, vec x) { _mm512_storeu_si512((void *)at, x); }
INLINE words load_words(const u64 *at) { return load(at); }
INLINE words low_words(words x) { return _mm512_and_si512(x, constant(0xffffffff)); }
INLINE words high_words_flipped(words x) { return _mm512_srli_epi64(_mm512_xor_si512(x, constant(1ull << 63)), 32); }
INLINE vec from_words(words x) { return x; }
INLINE factor load_factor(const u64 *at) { return (factor){load(at), load(at + LANES)}; }

INLINE vec lane_once(vec x, vec p) { return _mm512_min_epu64(x, subtract(x, p)); } /* below 2 p to below p */

/* x w mod p, below 2 p: the quotient is at most one too small; low halves suffice, as the difference fits in them. */
INLINE vec multiply_loosely(vec x, factor w, constants k) {
    vec quotient = add_high(zero(), x, w.quotient);
    return add_low(add_low(zero(), x, w.value), quotient, k.minus_p);
}
INLINE vec multiply(vec x, factor w, constants k) { return _mm512_and_si512(multiply_loosely(x, w, k), k.mask); }
INLINE vec reduce(vec x, constants k) { /* x below 2^52 to below 2 p */
    return _mm512_and_si512(subtract(x, add_low(zero(), add_high(zero(), x, k.one_52), k.p)), k.mask);
}
INLINE vec sum_of(vec a, vec b, constants k) { return lane_once(add(a, b), k.twice); } /* reduced, of two that are */
INLINE vec difference_of(vec a, vec b, constants k) { return lane_once(subtract(add(a, k.twice), b), k.twice); }
INLINE vec from_other(vec x, constants k) { return lane_once(x, k.p); } /* residues modulo a prime of the same length */
/* x below P, in size at most P / 2 once it is centred, plus p where it is negative. P and p have one length. */
INLINE vec centred(words x, u64 P, constants k) {
    __mmask8 above = _mm512_cmpgt_epu64_mask(x, constant(P / 2));
    return _mm512_mask_add_epi64(x, above, x, subtract(k.p, constant(P)));
}
INLINE void store_residues(u64 *at, vec x, constants k) { store(at, lane_once(reduce(x, k), k.p)); }

INLINE void forward_butterfly(vec *a, vec *b, factor w, constants k, int wide) {
    vec t = wide ? multiply(*b, w, k) : multiply_loosely(*b, w, k), x = wide ? lane_once(*a, k.twice) : *a;
    *a = add(x, t);
    *b = subtract(add(x, k.twice), t);
}
INLINE void inverse_butterfly(vec *a, vec *b, factor w, constants k, int wide) { /* below 2 p on both sides */
    (void)wide;
    vec difference = subtract(add(*a, k.twice), *b);
    *a = lane_once(add(*a, *b), k.twice);
    *b = multiply(difference, w, k);
}
INLINE vec end_of_pass(vec x, constants k) {
    (void)k;
    return x;
}

INLINE vec end_of_factor(vec x, constants k, int wide) { return wide ? reduce(x, k) : x; }

/* Of factors below 14 p and 2 p, 32 high halves are below 56 p + 32 for narrow primes; of two below 2 p, below 2 p for wide
 * ones. In either case 64 p halved twice is below 2^52. */
INLINE accumulator start_sum(vec x, const modulus *m) {
    (void)m;
    return (accumulator){x, zero()};
}
INLINE void add_product(accumulator *sum, vec x, vec y) {
    sum->low = add_low(sum->low, x, y);
    sum->high = add_high(sum->high, x, y);
}
INLINE vec end_sum(accumulator sum, constants k) {
    vec high = add(sum.high, _mm512_srli_epi64(sum.low, 52)), most = _mm512_slli_epi64(k.p, 4);
    high = multiply(lane_once(lane_once(high, add(most, most)), most), k.two_52, k);
    return lane_once(add(high, reduce(_mm512_and_si512(sum.low, k.mask), k)), k.twice);
}
INLINE vec product(vec x, vec y, constants k) {
    accumulator sum = {zero(), zero()};
    add_product(&sum, x, y);
    return end_sum(sum, k);
}

INLINE void transpose(vec v[8]) {
    vec a[8], b[8];
    UNROLL for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        UNROLL for (int h = 0; h < 2; h++) {
            b[4 * i + h] = _mm512_shuffle_i64x2(a[4 * i + h], a[4 * i + 2 + h], 0x88);
            b[4 * i + 2 + h] = _mm512_shuffle_i64x2(a[4 * i + h], a[4 * i + 2 + h], 0xdd);
        }
    }
    UNROLL for (int h = 0; h < 4; h++) {
        v[h] = _mm512_shuffle_i64x2(b[h], b[4 + h], 0x88);
        v[h + 4] = _mm512_shuffle_i64x2(b[h], b[4 + h], 0xdd);
    }
}

#define SCALE scale_lanes
static void scale_lanes(const kernel_context *c, const u64 *residues, u64 stride, u64 *low, u64 *high, u32 count) {
    vec mask = constant(MASK_52), top = constant((1ull << (c->scale_bits - 52)) - 1);
    u32 j = 0;
    for (; j + LANES <= count; j += LANES) {
        vec fraction = constant(1ull << 51), middle = zero(), upper = zero();
        for (u32 l = 0; l < c->count; l++) {
            const modulus *m = &c->moduli[l];
            constants k = constants_of(m);
            vec y = lane_once(multiply(load(residues + l * stride + j), broadcast(&m->hat), k), k.p);
            vec scale_low = constant(m->scale_low), scale_high = constant(m->scale_high);
            fraction = add_low(fraction, y, scale_low);
            middle = add_low(add_high(middle, y, scale_low), y, scale_high);
            upper = add_high(upper, y, scale_high);
        }
        middle = add(middle, _mm512_srli_epi64(fraction, 52));
        upper = add(upper, _mm512_srli_epi64(middle, 52));
        store(low + j, _mm512_and_si512(middle, mask));
        store(high + j, _mm512_and_si512(upper, top));
    }
    scale_words(c, residues + j, stride, low + j, high + j, count - j);
}
