// Poisson numbers of images, bit by bit those of torch.poisson with a CPU generator of each image's seed: the Mersenne
// Twister (Matsumoto & Nishimura 1998), and from a mean of 10 on the transformed rejection of Hoermann (1993). Compiled
// by zoo.native, without fused multiply-adds.
//
// How many attempts a pixel took decides which uniform numbers the next one gets, and a processor often guesses wrong.
// So the pixels of LANES images are drawn side by side in vector registers: a step takes two uniform numbers of each
// image, and a place moves on where the attempt succeeded. The logarithms of its test are short series; where their
// error could matter, and from the first mean below 10 on, the code for one image decides.

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr int WORDS = 624, SHIFT = 397;
constexpr int TOGETHER = 256;
constexpr int LANES = 16;
// Images for which lanes, the others idle, take less time than one image after the other; with shorter registers, lanes
// take more time for any number.
#ifdef __AVX2__
constexpr int FEWEST = 8;
#else
constexpr int FEWEST = LANES + 1;
#endif
constexpr int64_t FACTORIALS = 4096;

// The Mersenne Twisters of N images, interleaved.
template <int N>
struct Twisters {
    alignas(64) uint32_t state[WORDS * N];
    alignas(64) double numbers[WORDS / 2 * N];
    int place = WORDS / 2;  // of the next number of each image

    explicit Twisters(const uint32_t* seeds) {
        std::copy(seeds, seeds + N, state);
        for (int i = N; i < WORDS * N; ++i)
            state[i] = 1812433253u * (state[i - N] ^ (state[i - N] >> 30)) + static_cast<uint32_t>(i / N);
    }

    // Of one of the images of others.
    template <int M>
    Twisters(const Twisters<M>& others, int image) : place(others.place) {
        static_assert(N == 1);
        for (int j = 0; j < WORDS; ++j) state[j] = others.state[j * M + image];
        for (int j = 0; j < WORDS / 2; ++j) numbers[j] = others.numbers[j * M + image];
    }

    // Return the next `count` numbers of each image, [count, N], uniform from 0 to 1; count divides WORDS / 2.
    const double* next(int count) {
        if (place == WORDS / 2) fill();
        const double* found = numbers + place * N;
        place += count;
        return found;
    }

  private:
    static uint32_t twist(uint32_t high, uint32_t low) {
        const uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);
        return (mixed >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
    }

    void fill() {
        constexpr int all = WORDS * N, ahead = (WORDS - SHIFT) * N, last = all - N;
        for (int i = 0; i < ahead; ++i) state[i] = state[i + SHIFT * N] ^ twist(state[i], state[i + N]);
        for (int i = ahead; i < last; ++i) state[i] = state[i - ahead] ^ twist(state[i], state[i + N]);
        for (int i = last; i < all; ++i) state[i] = state[i - ahead] ^ twist(state[i], state[i - last]);
        for (int j = 0; j < WORDS / 2; ++j)
            for (int l = 0; l < N; ++l)
                numbers[j * N + l] = unit(tempered(state[2 * j * N + l]), tempered(state[(2 * j + 1) * N + l]));
        place = 0;
    }

    static uint32_t tempered(uint32_t y) {
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        return y ^ (y >> 18);
    }

    static double unit(uint32_t high, uint32_t low) {  // of 53 bits
        const double upper = static_cast<double>(static_cast<int32_t>(high & 0x1fffffu));
        return (upper * 0x1p32 + static_cast<double>(low)) * 0x1p-53;
    }
};

double uniform(Twisters<1>& twister) { return *twister.next(1); }

// Of a positive number. std::lgamma writes the sign to a global variable, which threads would share.
double log_gamma(double number) {
    int sign;
    return lgamma_r(number, &sign);
}

double log_factorial(int64_t k) {
    static const auto table = [] {
        std::array<double, FACTORIALS> values{};
        for (int64_t i = 0; i < FACTORIALS; ++i) values[i] = log_gamma(static_cast<double>(i) + 1);
        return values;
    }();
    return k < FACTORIALS ? table[k] : log_gamma(static_cast<double>(k) + 1);
}

int64_t product_of_uniforms(double mean, Twisters<1>& twister) {
    if (mean == 0) return 0;
    const double least = std::exp(-mean);
    int64_t count = 0;
    for (double product = uniform(twister); product > least; product *= uniform(twister)) ++count;
    return count;
}

// Of N pixels with a mean of 10 or more.
template <int N>
struct Rejection {
    double mean[N], a[N], b[N], vr[N];

    void prepare(const float* means, int many) {
        for (int i = 0; i < many; ++i) {
            mean[i] = static_cast<double>(means[i]);
            b[i] = 0.931 + 2.53 * std::sqrt(mean[i]);
            a[i] = -0.059 + 0.02483 * b[i];
            vr[i] = 0.9277 - 3.6224 / (b[i] - 2);
        }
    }

    // Whether the uniform numbers u + 0.5 and v give a count of pixel i, and which.
    bool draw(int i, double u, double v, int64_t& k) const {
        const double us = 0.5 - std::fabs(u);
        k = static_cast<int64_t>(std::floor((2 * a[i] / us + b[i]) * u + mean[i] + 0.43));
        if (us >= 0.07 && v <= vr[i]) return true;
        if (k < 0 || (us < 0.013 && v > us)) return false;
        const double inverse_alpha = 1.1239 + 1.1328 / (b[i] - 3.4);
        return std::log(v) + std::log(inverse_alpha) - std::log(a[i] / (us * us) + b[i]) <=
               -mean[i] + static_cast<double>(k) * std::log(mean[i]) - log_factorial(k);
    }
};

// Draws pixels first to pixels - 1 of one image.
void draw_image(int64_t first, int64_t pixels, const float* mean, Twisters<1>& twister, float* counts) {
    Rejection<TOGETHER> rejection;
    for (int64_t start = first; start < pixels; start += TOGETHER) {
        const int many = static_cast<int>(std::min<int64_t>(TOGETHER, pixels - start));
        rejection.prepare(mean + start, many);
        for (int i = 0; i < many; ++i) {
            const double own = rejection.mean[i];
            int64_t k;
            if (own >= 10) {
                double u, v;
                do {
                    u = uniform(twister) - 0.5;
                    v = uniform(twister);
                } while (!rejection.draw(i, u, v, k));
            } else {
                k = product_of_uniforms(own, twister);
            }
            counts[start + i] = static_cast<float>(k);
        }
    }
}

inline uint64_t bits_of(double number) {
    uint64_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

inline double from_bits(uint64_t bits) {
    double number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// The logarithm of a positive normal number within 1e-8: 2 artanh((x - 1) / (x + 1)) for x from 1 / sqrt(2) to sqrt(2).
inline double rough_log(double number) {
    constexpr uint64_t one = 0x3ff0000000000000u, least = 0x3fe6a09e667f3bcdu;  // of 1 and 1 / sqrt(2)
    const uint64_t exponent = (bits_of(number) + (one - least)) >> 52;           // and 1023
    const double x = from_bits(bits_of(number) + one - (exponent << 52));
    const double s = (x - 1) / (x + 1), t = s * s;
    const double series = s * (2.0 + t * (2.0 / 3 + t * (2.0 / 5 + t * (2.0 / 7 + t * (2.0 / 9)))));
    return (from_bits(0x4330000000000000u | exponent) - (0x1p52 + 1023)) * 0x1.62e42fefa39efp-1 + series;
}

// Draws `many` images, at most LANES, side by side: mean, counts [many, pixels]. Idle lanes repeat the last image.
void draw_lanes(int many, int64_t pixels, const float* mean, const uint32_t* seeds, float* counts) {
    uint32_t lane_seeds[LANES];
    int64_t at[LANES], end[LANES];
    for (int l = 0; l < LANES; ++l) {
        const int image = std::min(l, many - 1);
        lane_seeds[l] = seeds[image];
        at[l] = image * pixels;
        end[l] = at[l] + pixels;
    }
    Twisters<LANES> twisters(lane_seeds);
    float proposed[LANES];
    int64_t accepted[LANES], unclear[LANES];
    for (bool all = pixels > 0; all;) {
        const double* numbers = twisters.next(2);
        int64_t faint = 0, exact = 0;
        for (int l = 0; l < LANES; ++l) {
            const double m = static_cast<double>(mean[at[l]]);
            const double b = 0.931 + 2.53 * std::sqrt(m), a = -0.059 + 0.02483 * b;
            const double u = numbers[l] - 0.5, v = numbers[LANES + l];
            const double edge = 0.5 - std::fabs(u);
            const double k = std::floor((2 * a / edge + b) * u + m + 0.43);
            // The test of Rejection::draw, left side minus right side, with Stirling's series for the factorial and
            // one for log(z / m).
            const double z = k + 1, inverse = 1 / ((z + m) * z);
            const double s = (z - m) * z * inverse, t = s * s, one_over_z = (z + m) * inverse;
            const double later = 2.0 / 7 + t * (2.0 / 9 + t * (2.0 / 11 + t * (2.0 / 13)));
            const double log_ratio = s * (2.0 + t * (2.0 / 3 + t * (2.0 / 5 + t * later)));
            const double c = b - 3.4;
            const double q = v * edge * edge * (1.1239 * c + 1.1328) / ((a + b * edge * edge) * c);
            const double excess = 0.5 * rough_log(q * q * m) + (m - z) + 0.9189385332046728 + (k + 0.5) * log_ratio +
                                  one_over_z * (1.0 / 12 - one_over_z * one_over_z * (1.0 / 360));
            // Its error: what the series leave out, the second less than t^7, and what both ways round.
            const double tt = t * t, error = 1e-6 + z * (1e-12 + tt * tt * tt * t);
            const bool clear = (std::fabs(excess) > error) & (t < 0.5) & (z > 8) & (z < 1e15) & (v > 0);
            const bool wing = (edge < 0.013) & (v > edge);
            const bool perhaps_within = (edge >= 0.07) & ((0.9277 - v) * (b - 2) >= 3.6);  // a little more than v <= vr
            const bool yes = clear & (excess < 0) & !wing, no = wing | (clear & (excess > 0) & !perhaps_within);
            proposed[l] = static_cast<float>(k);
            accepted[l] = yes;
            unclear[l] = !(yes | no);
            exact |= unclear[l];
            faint |= !(m >= 10);
        }
        if (faint) {
            twisters.place -= 2;
            break;
        }
        if (exact)
            for (int l = 0; l < LANES; ++l) {
                if (!unclear[l]) continue;
                int64_t k;
                Rejection<1> rejection;
                rejection.prepare(mean + at[l], 1);
                accepted[l] = rejection.draw(0, numbers[l] - 0.5, numbers[LANES + l], k);
                proposed[l] = static_cast<float>(k);
            }
        // Of a rejected attempt too: the next one of this image writes over it.
        for (int l = 0; l < LANES; ++l) counts[at[l]] = proposed[l];
        int64_t done = 0;
        for (int l = 0; l < LANES; ++l) {  // apart, so that all of `at` is written at once: it is read so at once
            at[l] += accepted[l];
            done |= at[l] == end[l];
        }
        all = !done;
    }
    for (int l = 0; l < many; ++l) {
        Twisters<1> twister(twisters, l);
        const int64_t start = l * pixels;
        draw_image(at[l] - start, pixels, mean + start, twister, counts + start);
    }
}

}  // namespace

// Draws `images` images: mean, counts [images, pixels], mean not negative; seeds [images].
//
// Each of `threads` threads draws up to LANES images, and one that is done takes the next: a program beside this one
// costs its share of the cores and no more.
extern "C" void zoo_poisson(int64_t images, int64_t pixels, const float* mean, const uint32_t* seeds, float* counts,
                            int64_t threads) {
    const int64_t together = std::max<int64_t>(1, std::min<int64_t>(LANES, (images + threads - 1) / threads));
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        for (int64_t first = next.fetch_add(together); first < images; first = next.fetch_add(together)) {
            const int many = static_cast<int>(std::min(together, images - first));
            if (many >= FEWEST) {
                draw_lanes(many, pixels, mean + first * pixels, seeds + first, counts + first * pixels);
                continue;
            }
            for (int64_t image = first; image < first + many; ++image) {
                Twisters<1> twister(seeds + image);
                draw_image(0, pixels, mean + image * pixels, twister, counts + image * pixels);
            }
        }
    };
    std::vector<std::thread> helpers;
    try {
        for (int64_t thread = 1; thread < threads && thread * together < images; ++thread) helpers.emplace_back(work);
    } catch (const std::system_error&) {
        // The system allows no more threads: those that there are do all the work.
    } catch (const std::bad_alloc&) {
    }
    work();
    for (std::thread& helper : helpers) helper.join();
}
