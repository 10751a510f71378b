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
INLINE void store_residues(u64 *at, vec x, constants k) {
    vec reduced = reduce(x, k);
    store_words(at, to_words(add(reduced, where_negative(reduced, k.p))));
}

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
