/* What lies between the two matrix products of a patch network, in one pass over its responses each way.

   scaled: (row, line, place), responses in units of rho. A row is one class of one seed; its lines are its neurons times the
   patches; a line has `places` numbers, a multiple of 16, of which those beyond the `examples` are padding. act / rho and
   act' are those of nets/activation.py. NUMBER is float or double. Vectors are written out, since compilers leave the choice
   between the parts of the activation to branches otherwise; a NaN stays one, since it compares as false. */

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#define LANES (long)(64 / sizeof(NUMBER))
#define TILE 64

typedef NUMBER vec __attribute__((vector_size(64), aligned(sizeof(NUMBER)), may_alias));
typedef __typeof__((vec){0} < (vec){0}) mask;

INLINE vec positive(vec scaled)
{
    return (vec)(~(scaled < 0) & (mask)scaled);
}

INLINE vec at_most_one(vec scaled)
{
    mask above = scaled > 1;
    return (vec)((above & (mask)(1 + (vec){0})) | (~above & (mask)scaled));
}

/* q is a constant wherever this is used */
INLINE vec power(vec unit, int q)
{
    vec result = unit;
    for (int i = 1; i < q; i++) result *= unit;
    return result;
}

INLINE vec value(vec scaled, int q)
{
    vec above = positive(scaled);
    if (q == 1) return above;
    vec unit = at_most_one(above);
    return power(unit, q) * ((NUMBER)1 / q) + (above - unit);
}

INLINE vec slope(vec scaled, int q)
{
    if (q == 1) return (vec)((scaled > 0) & (mask)(1 + (vec){0}));
    return power(at_most_one(positive(scaled)), q - 1);
}

INLINE void respond_row(const NUMBER *scaled, NUMBER *logits, long lines, long places, long examples, NUMBER rho, int q)
{
    for (long from = 0; from < examples; from += TILE * LANES) {
        long left = examples - from < TILE * LANES ? examples - from : TILE * LANES, count = (left + LANES - 1) / LANES;
        vec sum[TILE];
        memset(sum, 0, sizeof(sum));
        const NUMBER *at = scaled + from, *end = at + lines * places;
        for (; at + 4 * places <= end; at += 4 * places) {
            const vec *a = (vec *)at, *b = (vec *)(at + places), *c = (vec *)(at + 2 * places), *d = (vec *)(at + 3 * places);
            for (long e = 0; e < count; e++)
                sum[e] += (value(a[e], q) + value(b[e], q)) + (value(c[e], q) + value(d[e], q));
        }
        for (; at < end; at += places)
            for (long e = 0; e < count; e++) sum[e] += value(((vec *)at)[e], q);
        for (long e = 0; e < count; e++) sum[e] *= rho;
        memcpy(logits + from, sum, left * sizeof(NUMBER));
    }
}

INLINE void weigh_row(NUMBER *scaled, const NUMBER *residual, long lines, long places, long examples, int q)
{
    for (long from = 0; from < examples; from += TILE * LANES) {
        long left = examples - from < TILE * LANES ? examples - from : TILE * LANES, count = (left + LANES - 1) / LANES;
        vec by[TILE];
        memset(by, 0, sizeof(by));
        memcpy(by, residual + from, left * sizeof(NUMBER));
        for (NUMBER *at = scaled + from, *end = at + lines * places; at < end; at += places)
            for (long e = 0; e < count; e++) ((vec *)at)[e] = slope(((vec *)at)[e], q) * by[e];
    }
}

/* One entry for each power: logits (row, example) <- rho x the sum of act / rho over the lines of a row, and
   scaled <- act' x residual (row, example) of its row, 0 in the padding. */
#define POWER(q)                                                                                                           \
    EXPORT void respond_##q(const NUMBER *scaled, NUMBER *logits, long rows, long lines, long places, long examples,       \
                            double rho, int threads)                                                                       \
    {                                                                                                                      \
        _Pragma("omp parallel for schedule(static) num_threads(threads) if (threads > 1)")                                 \
        for (long row = 0; row < rows; row++)                                                                              \
            respond_row(scaled + row * lines * places, logits + row * examples, lines, places, examples, rho, q);          \
    }                                                                                                                      \
    EXPORT void weigh_##q(NUMBER *scaled, const NUMBER *residual, long rows, long lines, long places, long examples,       \
                          int threads)                                                                                     \
    {                                                                                                                      \
        _Pragma("omp parallel for schedule(static) num_threads(threads) if (threads > 1)")                                 \
        for (long row = 0; row < rows; row++)                                                                              \
            weigh_row(scaled + row * lines * places, residual + row * examples, lines, places, examples, q);               \
    }

POWER(1)
POWER(2)
POWER(3)
POWER(4)
POWER(5)
POWER(6)
