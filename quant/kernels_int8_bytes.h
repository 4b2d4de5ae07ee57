/* quant/kernels_int8_bytes.h: what the levels share that multiply four uint8 at once by int8 as it
 * is packed. After kernels_int8_256.h or kernels_int8_512.h. */
static inline veci v_group(const uint8_t *p)
{
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return v_set(four);
}

#define v_load_packed(w) v_load(w)
static inline const uint8_t *bundle_of(int16_t *scratch, const int8_t *w, size_t count)
{
    (void)scratch, (void)count;
    return (const uint8_t *)w;
}
