/* Two lanes of doubles: NEON of 64-bit ARM. See vector_double.h. */
#include <arm_neon.h>
#define LANES 2
#define LOG_LANES 1
#define PAIR_VECTORS 4 /* of each half, in sums of products */

typedef float64x2_t vec;
typedef uint64x2_t words;

INLINE words load_words(const u64 *at) { return vld1q_u64(at); }
INLINE void store_words(u64 *at, words x) { vst1q_u64(at, x); }
INLINE vec load(const u64 *at) { return vreinterpretq_f64_u64(vld1q_u64(at)); }
INLINE void store(u64 *at, vec x) { vst1q_u64(at, vreinterpretq_u64_f64(x)); }
INLINE vec set_lanes(double x) { return vdupq_n_f64(x); }
INLINE vec broadcast_bits(const u64 *at) { return vreinterpretq_f64_u64(vld1q_dup_u64(at)); }
INLINE vec add(vec a, vec b) { return vaddq_f64(a, b); }
INLINE vec subtract(vec a, vec b) { return vsubq_f64(a, b); }
INLINE vec times_lanes(vec a, vec b) { return vmulq_f64(a, b); }
INLINE vec add_times(vec c, vec a, vec b) { return vfmaq_f64(c, a, b); }            /* c + a b */
INLINE vec less_times(vec c, vec a, vec b) { return vfmsq_f64(c, a, b); }           /* c - a b */
INLINE vec round_lanes(vec x) { return vrndnq_f64(x); }
INLINE vec where_negative(vec x, vec p) {
    return vreinterpretq_f64_u64(vandq_u64(vcltzq_f64(x), vreinterpretq_u64_f64(p)));
}

INLINE words broadcast_word(u64 x) { return vdupq_n_u64(x); }
INLINE words add_words(words a, words b) { return vaddq_u64(a, b); }
INLINE words and_words(words a, words b) { return vandq_u64(a, b); }
INLINE words times_words(words a, words b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); } /* below 2^32 each */
INLINE words shift_left(words x, int bits) { return vshlq_u64(x, vdupq_n_s64(bits)); }
INLINE words shift_right(words x, int bits) { return vshlq_u64(x, vdupq_n_s64(-bits)); }
INLINE words low_words(words x) { return vandq_u64(x, vdupq_n_u64(0xffffffff)); }
INLINE words high_words_flipped(words x) { return vshrq_n_u64(veorq_u64(x, vdupq_n_u64(1ull << 63)), 32); }
INLINE vec from_words(words x) { return vcvtq_f64_u64(x); }
INLINE words to_words(vec x) { return vcvtq_u64_f64(x); }

INLINE void transpose(vec v[2]) {
    vec first = vzip1q_f64(v[0], v[1]);
    v[1] = vzip2q_f64(v[0], v[1]);
    v[0] = first;
}
