/* Two models on the same pictures. */
#include <math.h>

#include "quant/measure.h"

double quant_mcnemar(uint64_t b, uint64_t c)
{
    double n = (double)b + (double)c, sum = 0;
    uint64_t least = b < c ? b : c;
    int sign;
    if (b == c)
        return 1;
    /* Terms rise up to the last: added from it down until they no longer count. */
    double term = exp(lgamma_r(n + 1, &sign) - lgamma_r((double)least + 1, &sign) -
                      lgamma_r(n - (double)least + 1, &sign) - n * log(2.0));
    for (uint64_t k = least;; k--) {
        sum += term;
        if (k == 0 || term < 1e-18 * sum)
            break;
        term *= (double)k / (n - (double)k + 1); /* C(n,k-1) / C(n,k) */
    }
    return fmin(1, 2 * sum);
}

void quant_pair(quant_pair_t *pair, const float *first, const float *second, const int32_t *labels,
                size_t n, size_t classes)
{
    uint64_t same = 0;
    *pair = (quant_pair_t){0};
    for (size_t i = 0; i < n; i++) {
        size_t a = quant_answer(first + i * classes, classes);
        size_t b = quant_answer(second + i * classes, classes), label = (size_t)labels[i];
        same += (uint64_t)(a == b);
        pair->only_first += (uint64_t)(a == label && b != label);
        pair->only_second += (uint64_t)(b == label && a != label);
    }
    pair->agreement = (double)same / (double)n;
    pair->p = quant_mcnemar(pair->only_first, pair->only_second);
}
