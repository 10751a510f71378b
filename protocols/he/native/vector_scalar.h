/* One lane of words, with 128-bit products: runs everywhere, and is what the others are tested against.
 * Internal values are below 2 p. Between, values of a forward transform stay below 28 p < 2^55, so any word is multiplied. */
#define LANES 1
#define LOG_LANES 0
#define PAIR_VECTORS 4 /* of each half, in sums of products */

typedef u64 vec;
typedef u64 words;
typedef struct {
    u64 value, quotient;
} factor;
typedef struct {
    u64 p, twice;
    const modulus *m;
} constants;
typedef u128 accumulator;

INLINE constants constants_of(const modulus *m) { return (constants){m->p, 2 * m->p, m}; }
INLINE twiddle make_twiddle(u64 value, u64 p) { return (twiddle){value, shoup_of(value, p)}; }

INLINE vec load(const u64 *at) { return *at; }
INLINE void store(u64 *at, vec x) { *at = x; }
INLINE words load_words(const u64 *at) { return *at; }
INLINE words low_words(words x) { return x & 0xffffffff; }
INLINE words high_words_flipped(words x) { return (x ^ 1ull << 63) >> 32; }
INLINE vec from_words(words x) { return x; }
INLINE vec constant(u64 value) { return value; }
INLINE vec broadcast_value(const u64 *at) { return *at; }
INLINE factor broadcast(const twiddle *w) { return (factor){w->value, w->quotient}; }
INLINE factor load_factor(const u64 *at) { return (factor){at[0], at[1]}; }
INLINE vec add(vec a, vec b) { return a + b; }

INLINE vec multiply(vec x, factor w, constants k) { return times(x, w.value, w.quotient, k.p); }
INLINE vec reduce(vec x, constants k) { return x - (u64)(((u128)x * k.m->one_shoup) >> 64) * k.p; }
INLINE vec sum_of(vec a, vec b, constants k) { return once(a + b, k.twice); } /* reduced, of two that are */
INLINE vec difference_of(vec a, vec b, constants k) { return once(a + k.twice - b, k.twice); }
INLINE vec from_other(vec x, constants k) { return once(x, k.p); } /* residues modulo a prime of the same length */
/* x below P, in size at most P / 2 once it is centred, plus p where it is negative. P and p have one length. */
INLINE vec centred(words x, u64 P, constants k) { return x + ((k.p - P) & (0 - ((P / 2 - x) >> 63))); }
INLINE void store_residues(u64 *at, vec x, constants k) { *at = once(reduce(x, k), k.p); }

INLINE void forward_butterfly(vec *a, vec *b, factor w, constants k, int wide) {
    (void)wide;
    vec t = multiply(*b, w, k);
    *b = *a + k.twice - t;
    *a = *a + t;
}
INLINE void inverse_butterfly(vec *a, vec *b, factor w, constants k, int wide) { /* below 2 p on both sides */
    (void)wide;
    vec difference = *a + k.twice - *b;
    *a = once(*a + *b, k.twice);
    *b = multiply(difference, w, k);
}
INLINE vec end_of_pass(vec x, constants k) {
    (void)k;
    return x;
}

INLINE vec end_of_factor(vec x, constants k, int wide) {
    (void)k, (void)wide;
    return x;
}

INLINE accumulator start_sum(vec x, const modulus *m) {
    (void)m;
    return x;
}
INLINE void add_product(accumulator *sum, vec x, vec y) { *sum += (u128)x * y; }
INLINE vec end_sum(accumulator sum, constants k) { /* high word times 2^64, below 2 p, and the low one: below 4 p */
    vec high = times((u64)(sum >> 64), k.m->word, k.m->word_shoup, k.p);
    return once(high + reduce((u64)sum, k), k.twice);
}
INLINE vec product(vec x, vec y, constants k) { return end_sum((u128)x * y, k); }
