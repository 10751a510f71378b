/* Elligator 2 for Curve25519 (RFC 9380, section 6.7.1), u-coordinates: the map of protocols/psi/encode.py for one element that
 * is secret. protocols/psi/elligator.py has the same for many at once, and says why it is right.
 *
 *     48 bytes --mod p--> u,  t = 2 u^2,  d = 1 + t,  e = t (J^2 - 2 - t) - 1,  w = d e
 *     f = w^((p - 3) / 2),  s = f w = w^((p - 1) / 2) = 1 or -1,  y = J f e = s J / d
 *     x = y where s = -1, else y - J
 *
 * p = 2^255 - 19. A number is five limbs of 51 bits, not reduced: products come out below 2^51 + 2^17 a limb, and take in up to
 * 2^53 + 2^52. There is no branch and no index that depends on a number. */
#include "internal.h"

#define LIMBS 5
#define LIMB_MASK ((1ull << 51) - 1)
#define CURVE_J 486662ull

typedef struct {
    u64 limb[LIMBS];
} number;

static const number FOUR_P = {{(1ull << 53) - 76, (1ull << 53) - 4, (1ull << 53) - 4, (1ull << 53) - 4, (1ull << 53) - 4}};

/* All limbs below 2^51; what is left over, a multiple of 2^255. */
static u64 carry_out(number *a) {
    for (int i = 0; i < LIMBS - 1; i++) {
        a->limb[i + 1] += a->limb[i] >> 51;
        a->limb[i] &= LIMB_MASK;
    }
    u64 over = a->limb[LIMBS - 1] >> 51;
    a->limb[LIMBS - 1] &= LIMB_MASK;
    return over;
}

static void carry(number *a) { a->limb[0] += 19 * carry_out(a); }

static number product(const number *a, const number *b) {
    u128 sums[LIMBS] = {0};
    for (int i = 0; i < LIMBS; i++)
        for (int j = 0; j < LIMBS; j++) {
            u64 factor = i + j < LIMBS ? b->limb[j] : 19 * b->limb[j];
            sums[(i + j) % LIMBS] += (u128)a->limb[i] * factor;
        }
    number out;
    for (int i = 0; i < LIMBS - 1; i++) {
        sums[i + 1] += sums[i] >> 51;
        out.limb[i] = (u64)sums[i] & LIMB_MASK;
    }
    out.limb[LIMBS - 1] = (u64)sums[LIMBS - 1] & LIMB_MASK;
    u128 low = out.limb[0] + 19 * (sums[LIMBS - 1] >> 51);
    out.limb[0] = (u64)low & LIMB_MASK;
    out.limb[1] += (u64)(low >> 51);
    return out;
}

/* a^(2^count) */
static number squared(const number *a, int count) {
    number out = *a;
    for (int i = 0; i < count; i++) out = product(&out, &out);
    return out;
}

/* a^(2^(2 count) - 1) from a^(2^count - 1) */
static number doubled(const number *ones, int count) {
    number high = squared(ones, count);
    return product(&high, ones);
}

/* w^((p - 3) / 2) = w^(2^254 - 11) */
static number power(const number *w) {
    number ones_2, ones_4, ones_5, ones_10, ones_20, ones_40, ones_50, ones_100, ones_200, ones_250, high;
    ones_2 = doubled(w, 1);
    ones_4 = doubled(&ones_2, 2);
    high = squared(&ones_4, 1), ones_5 = product(&high, w);
    ones_10 = doubled(&ones_5, 5);
    ones_20 = doubled(&ones_10, 10);
    ones_40 = doubled(&ones_20, 20);
    high = squared(&ones_40, 10), ones_50 = product(&high, &ones_10);
    ones_100 = doubled(&ones_50, 50);
    ones_200 = doubled(&ones_100, 100);
    high = squared(&ones_200, 50), ones_250 = product(&high, &ones_50);
    high = squared(&ones_250, 2), high = product(&high, w); /* 2^252 - 3 */
    high = squared(&high, 2);                             /* 2^254 - 12 */
    return product(&high, w);
}

/* Below p, in place. */
static void reduce(number *a) {
    carry(a);
    carry(a);
    u64 above = (a->limb[0] + 19) >> 51; /* 1 where a is p or more, once it has gone through all limbs */
    for (int i = 1; i < LIMBS; i++) above = (a->limb[i] + above) >> 51;
    a->limb[0] += 19 * above;
    (void)carry_out(a); /* 2^255 above: a + 19 - 2^255 is a - p */
}

/* 384 bits, big-endian, mod p. */
static number from_bytes(const u8 *uniform) {
    u64 words[6];
    for (int i = 0; i < 6; i++) {
        words[5 - i] = 0;
        for (int j = 0; j < 8; j++) words[5 - i] = words[5 - i] << 8 | uniform[8 * i + j];
    }
    u64 limbs[8]; /* of 51 bits */
    for (int i = 0; i < 8; i++) {
        int word = 51 * i / 64, shift = 51 * i % 64;
        u64 next = shift > 13 && word < 5 ? words[word + 1] << (64 - shift) : 0;
        limbs[i] = (words[word] >> shift | next) & LIMB_MASK;
    }
    number out;
    for (int i = 0; i < LIMBS; i++) out.limb[i] = limbs[i] + (i < 3 ? 19 * limbs[LIMBS + i] : 0);
    carry(&out);
    return out;
}

static void to_bytes(const number *a, u8 *out) {
    const u64 *limb = a->limb;
    u64 words[4] = {limb[0] | limb[1] << 51, limb[1] >> 13 | limb[2] << 38, limb[2] >> 26 | limb[3] << 25,
                    limb[3] >> 39 | limb[4] << 12};
    memcpy(out, words, sizeof words);
}

void kernel_map_to_curve(const uint8_t *uniform, uint8_t *point) {
    const number j = {{CURVE_J}};
    number u = from_bytes(uniform), t = product(&u, &u), other, d, e, w, f, s, y;
    for (int i = 0; i < LIMBS; i++) t.limb[i] *= 2;
    carry(&t);
    d = t, d.limb[0] += 1;
    for (int i = 0; i < LIMBS; i++) other.limb[i] = FOUR_P.limb[i] - t.limb[i];
    other.limb[0] += CURVE_J * CURVE_J - 2;
    e = product(&t, &other);
    for (int i = 0; i < LIMBS; i++) e.limb[i] += FOUR_P.limb[i];
    e.limb[0] -= 1;
    carry(&e);
    w = product(&d, &e);
    f = power(&w);
    s = product(&f, &w);
    y = product(&f, &e);
    y = product(&y, &j);
    reduce(&s);
    for (int i = 0; i < LIMBS; i++) y.limb[i] += FOUR_P.limb[i];
    y.limb[0] -= CURVE_J & (0 - (s.limb[0] & 1)); /* 1 is odd, p - 1 is even */
    reduce(&y);
    to_bytes(&y, point);
}
