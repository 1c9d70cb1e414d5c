// Poisson numbers of an image, bit by bit those of torch.poisson with a CPU generator of the same seed: the Mersenne
// Twister (Matsumoto & Nishimura 1998), and above a mean of 10 the transformed rejection of Hoermann (1993), whose
// constants of a pixel are computed for many pixels at once here. Compiled by zoo.native, without fused multiply-adds.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int WORDS = 624, SHIFT = 397;
constexpr int TOGETHER = 256;
constexpr int64_t FACTORIALS = 4096;

class Uniform {
  public:
    explicit Uniform(uint32_t seed) {
        state_[0] = seed;
        for (uint32_t j = 1; j < WORDS; ++j) state_[j] = 1812433253u * (state_[j - 1] ^ (state_[j - 1] >> 30)) + j;
    }

    // From 0 to 1, of 53 bits.
    double operator()() {
        if (place_ == WORDS / 2) fill();
        return numbers_[place_++];
    }

  private:
    static uint32_t twist(uint32_t high, uint32_t low) {
        const uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);
        return (mixed >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
    }

    void fill() {
        for (int j = 0; j < WORDS - SHIFT; ++j) state_[j] = state_[j + SHIFT] ^ twist(state_[j], state_[j + 1]);
        for (int j = WORDS - SHIFT; j < WORDS - 1; ++j)
            state_[j] = state_[j + SHIFT - WORDS] ^ twist(state_[j], state_[j + 1]);
        state_[WORDS - 1] = state_[SHIFT - 1] ^ twist(state_[WORDS - 1], state_[0]);
        uint32_t words[WORDS];
        for (int j = 0; j < WORDS; ++j) {
            uint32_t y = state_[j];
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c5680u;
            y ^= (y << 15) & 0xefc60000u;
            words[j] = y ^ (y >> 18);
        }
        for (int j = 0; j < WORDS / 2; ++j) {
            const uint64_t word = (static_cast<uint64_t>(words[2 * j]) << 32) | words[2 * j + 1];
            numbers_[j] = static_cast<double>(static_cast<int64_t>(word & ((1ull << 53) - 1))) * 0x1p-53;
        }
        place_ = 0;
    }

    uint32_t state_[WORDS];
    double numbers_[WORDS / 2];
    int place_ = WORDS / 2;
};

// Of a positive number. std::lgamma writes the sign to a global variable, which threads would share.
double log_gamma(double number) {
    int sign;
    return lgamma_r(number, &sign);
}

double log_factorial(int64_t k) {
    static const std::vector<double> table = [] {
        std::vector<double> values(FACTORIALS);
        for (int64_t i = 0; i < FACTORIALS; ++i) values[i] = log_gamma(static_cast<double>(i) + 1);
        return values;
    }();
    return k < FACTORIALS ? table[k] : log_gamma(static_cast<double>(k) + 1);
}

int64_t product_of_uniforms(double mean, Uniform& uniform) {
    if (mean == 0) return 0;
    const double least = std::exp(-mean);
    int64_t count = 0;
    for (double product = uniform(); product > least; product *= uniform()) ++count;
    return count;
}

// Of pixels with a mean of 10 or more.
struct Rejection {
    double mean[TOGETHER], a[TOGETHER], b[TOGETHER], vr[TOGETHER];

    void prepare(const float* means, int many) {
        for (int i = 0; i < many; ++i) {
            mean[i] = static_cast<double>(means[i]);
            b[i] = 0.931 + 2.53 * std::sqrt(mean[i]);
            a[i] = -0.059 + 0.02483 * b[i];
            vr[i] = 0.9277 - 3.6224 / (b[i] - 2);
        }
    }

    int64_t draw(int i, Uniform& uniform) const {
        while (true) {
            const double u = uniform() - 0.5;
            const double v = uniform();
            const double us = 0.5 - std::fabs(u);
            const int64_t k = static_cast<int64_t>(std::floor((2 * a[i] / us + b[i]) * u + mean[i] + 0.43));
            if (us >= 0.07 && v <= vr[i]) return k;
            if (k < 0 || (us < 0.013 && v > us)) continue;
            const double inverse_alpha = 1.1239 + 1.1328 / (b[i] - 3.4);
            if (std::log(v) + std::log(inverse_alpha) - std::log(a[i] / (us * us) + b[i]) <=
                -mean[i] + static_cast<double>(k) * std::log(mean[i]) - log_factorial(k))
                return k;
        }
    }
};

}  // namespace

// mean: [pixels], not negative; counts: [pixels].
extern "C" void zoo_poisson(int64_t pixels, const float* mean, uint32_t seed, float* counts) {
    Uniform uniform(seed);
    Rejection rejection;
    for (int64_t start = 0; start < pixels; start += TOGETHER) {
        const int many = static_cast<int>(std::min<int64_t>(TOGETHER, pixels - start));
        rejection.prepare(mean + start, many);
        for (int i = 0; i < many; ++i) {
            const double own = rejection.mean[i];
            counts[start + i] =
                static_cast<float>(own >= 10 ? rejection.draw(i, uniform) : product_of_uniforms(own, uniform));
        }
    }
}
