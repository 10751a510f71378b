/* Lanes of doubles with fused multiply-add, over the few operations that vector_avx2.h and vector_neon.h define.
 *
 * A value is an integer of size below 2^53, so that it is exact. x w mod p: h = x w rounded, l = h - x w exactly (fused),
 * q an integer near x w / p, and h - q p (fused) is exact because it is an integer below 2^53; so is that less l.
 * The quotient comes from w / p, rounded once: it is off by less than 1/2 + |x| 2^-54, x w / p must be below 2^51 for the
 * rounding by a large number, and the result is below p (1/2 + |x| 2^-54) in size. Constant factors are centred.
 * Internal values are at most p / 2 (1 + 2^-40) in size. In a forward transform of a narrow prime 7 stages bring p to
 * 5.2 p < 2^50.4, so products are off by less than p / 8. Wide primes are reduced at every butterfly.
 * Reference: Hart, van Hoeij, Schultz and others, FLINT's fft_small. */
typedef struct {
    vec value, quotient;
} factor;
typedef struct {
    vec p, inverse_p, twice;
    u32 bits;
} constants;
typedef struct {
    vec low, high;
} accumulator;

#define ROUNDING 6755399441055744.0 /* 3 2^51: integers near it are a unit apart */

INLINE u64 bits_of(double x) {
    u64 bits;
    memcpy(&bits, &x, 8);
    return bits;
}
INLINE twiddle make_twiddle(u64 value, u64 p) {
    double centred = value > p / 2 ? -(double)(p - value) : (double)value;
    return (twiddle){bits_of(centred), bits_of(centred / (double)p)};
}
INLINE vec constant(u64 value) { return set_lanes((double)value); }
INLINE vec broadcast_value(const u64 *at) { return broadcast_bits(at); }
INLINE factor broadcast(const twiddle *w) { return (factor){broadcast_bits(&w->value), broadcast_bits(&w->quotient)}; }
INLINE factor load_factor(const u64 *at) { return (factor){load(at), load(at + LANES)}; }
INLINE constants constants_of(const modulus *m) {
    return (constants){set_lanes((double)m->p), set_lanes(1.0 / (double)m->p), set_lanes(2.0 * (double)m->p), m->bits};
}

INLINE vec near(vec x, vec y) { /* the integer nearest to x y, below 2^51 */
    vec rounding = set_lanes(ROUNDING);
    return subtract(add_times(rounding, x, y), rounding);
}
INLINE vec multiply(vec x, factor w, constants k) {
    vec quotient = near(x, w.quotient), high = times_lanes(x, w.value), minus_low = less_times(high, x, w.value);
    return subtract(less_times(high, quotient, k.p), minus_low);
}
INLINE vec reduce(vec x, constants k) { return less_times(x, near(x, k.inverse_p), k.p); }
INLINE vec sum_of(vec a, vec b, constants k) { return reduce(add(a, b), k); }
INLINE vec difference_of(vec a, vec b, constants k) { return reduce(subtract(a, b), k); }
INLINE vec from_other(vec x, constants k) { return reduce(x, k); } /* residues modulo a prime of the same length */
/* x below P, centred: in size at most P / 2. P and p have one length. */
INLINE vec centred(words x, u64 P, constants k) {
    (void)k;
    vec value = from_words(x);
    return subtract(value, where_negative(subtract(set_lanes((double)(P / 2)), value), set_lanes((double)P)));
}
INLINE words residue_words(vec x, constants k) { /* in [0, p) */
    vec reduced = reduce(x, k);
    return to_words(add(reduced, where_negative(reduced, k.p)));
}
INLINE void store_residues(u64 *at, vec x, constants k) { store_words(at, residue_words(x, k)); }

INLINE void forward_butterfly(vec *a, vec *b, factor w, constants k, int wide) {
    vec t = multiply(*b, w, k), x = wide ? reduce(*a, k) : *a;
    *a = add(x, t);
    *b = subtract(x, t);
}
/* Sums double at each of at most three stages, up to 4 p, then end_of_pass halves them thrice again. */
INLINE void inverse_butterfly(vec *a, vec *b, factor w, constants k, int wide) {
    vec sum = add(*a, *b), difference = subtract(*a, *b);
    *a = wide ? reduce(sum, k) : sum;
    *b = multiply(difference, w, k);
}
INLINE vec end_of_pass(vec x, constants k) { return reduce(x, k); }
INLINE vec end_of_factor(vec x, constants k, int wide) {
    (void)wide;
    return reduce(x, k);
}

/* The high sum is kept to multiples of 2^bits by a number that dwarfs it; what each product leaves, at most 2^(bits - 1),
 * adds up exactly in the low one: for 2^(53 - bits) products of values below p / 2 in size. */
INLINE double sum_base(u32 bits) { return (double)(3ull << 51) * (double)(1ull << bits); }
INLINE accumulator start_sum(vec x, const modulus *m) { return (accumulator){x, set_lanes(sum_base(m->bits))}; }
INLINE void add_product(accumulator *sum, vec x, vec y) {
    vec high = add_times(sum->high, x, y);
    sum->low = subtract(sum->low, less_times(subtract(high, sum->high), x, y));
    sum->high = high;
}
INLINE vec end_sum(accumulator sum, constants k) {
    vec high = subtract(sum.high, set_lanes(sum_base(k.bits)));
    vec quotient = round_lanes(times_lanes(high, k.inverse_p)); /* up to 2^52: off by 3/2 at most */
    return reduce(add(less_times(high, quotient, k.p), sum.low), k);
}
INLINE vec product(vec x, vec y, constants k) {
    vec high = times_lanes(x, y), minus_low = less_times(high, x, y);
    return reduce(subtract(less_times(high, near(high, k.inverse_p), k.p), minus_low), k);
}

/* kernel.h's formula with digits of 26 bits: sums of up to 14 products of two digits stay below 2^56. */
#define SCALE scale_lanes
#define DIGIT_BITS 26
INLINE words digit(words x) { return and_words(x, broadcast_word((1ull << DIGIT_BITS) - 1)); }
INLINE void add_digit_products(words *sums, words y, const modulus *m) {
    words y0 = digit(y), y1 = shift_right(y, DIGIT_BITS);
    u64 low = m->scale_low, high = m->scale_high, mask = (1ull << DIGIT_BITS) - 1;
    u64 digits[4] = {low & mask, low >> DIGIT_BITS, high & mask, high >> DIGIT_BITS};
    UNROLL for (int i = 0; i < 4; i++) {
        words c = broadcast_word(digits[i]);
        sums[i] = add_words(sums[i], times_words(y0, c));
        sums[i + 1] = add_words(sums[i + 1], times_words(y1, c));
    }
}
static void scale_lanes(const kernel_context *c, const u64 *residues, u64 stride, u64 *low, u64 *high, u32 count) {
    words mask = broadcast_word((1ull << 52) - 1), top = broadcast_word((1ull << (c->scale_bits - 52)) - 1);
    u32 j = 0;
    for (; j + LANES <= count; j += LANES) {
        words sums[5] = {broadcast_word(1ull << 51), broadcast_word(0), broadcast_word(0), broadcast_word(0), broadcast_word(0)};
        for (u32 l = 0; l < c->count; l++) {
            const modulus *m = &c->moduli[l];
            constants k = constants_of(m);
            vec y = multiply(from_words(load_words(residues + l * stride + j)), broadcast(&m->hat), k);
            add_digit_products(sums, residue_words(y, k), m);
        }
        words fraction = add_words(sums[0], shift_left(digit(sums[1]), DIGIT_BITS));
        words lower = add_words(add_words(sums[2], shift_right(sums[1], DIGIT_BITS)), shift_right(fraction, 52));
        lower = add_words(lower, shift_left(digit(sums[3]), DIGIT_BITS));
        words upper = add_words(add_words(sums[4], shift_right(sums[3], DIGIT_BITS)), shift_right(lower, 52));
        store_words(low + j, and_words(lower, mask));
        store_words(high + j, and_words(upper, top));
    }
    scale_words(c, residues + j, stride, low + j, high + j, count - j);
}
