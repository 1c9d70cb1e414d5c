// Images of scenes with a Sersic source or a picture, each in one pass over its rays: the formulas of zoo_caustics.fused, which are
// caustics' (Stone et al. 2024, arXiv:2406.15542). Compiled by zoo.native. An image depends on its own arguments only.
//
// A vector holds rays that lie side by side. GCC and Clang translate its operators to whatever the processor has.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16;
constexpr int CONSTANTS = 18;
// Added to squared distances in arcsec^2, far below those of float32's positions. The square of it is not 0.
constexpr float TINY = 1e-18f;

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t IntVec __attribute__((vector_size(4 * LANES)));

inline Vec load(const float* from) {
    Vec v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Vec v) { std::memcpy(to, &v, sizeof v); }

inline Vec all(float value) { return value - Vec{}; }

inline IntVec bits(Vec v) {
    IntVec i;
    std::memcpy(&i, &v, sizeof i);
    return i;
}

inline Vec floats(IntVec i) {
    Vec v;
    std::memcpy(&v, &i, sizeof v);
    return v;
}

inline Vec root(Vec v) {
    for (int k = 0; k < LANES; ++k) v[k] = std::sqrt(v[k]);
    return v;
}

// exp, log, atan and atanh to about two units in the last place: polynomials of Moshier's Cephes library (1992).

// 0 where the result is no normal number: light that cannot be seen is none.
inline Vec exponential(Vec given) {
    Vec v = given > 88.0f ? all(88.0f) : given;
    v = v < -87.0f ? all(-87.0f) : v;
    const Vec magic = all(12582912.0f);  // adding it rounds to a whole number
    const Vec whole = (v * 1.44269504088896341f + magic) - magic;
    const Vec r = (v - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    p = p * floats((__builtin_convertvector(whole, IntVec) + 127) << 23);
    return given < -87.0f ? Vec{} : p;
}

// Of positive normal numbers.
inline Vec logarithm(Vec v) {
    const IntVec i = bits(v);
    Vec e = __builtin_convertvector((i >> 23) - 126, Vec);
    Vec m = floats((i & 0x007fffff) | 0x3f000000);  // from 0.5 to 1
    const IntVec small = m < 0.707106781186547524f;
    e = small ? e - 1.0f : e;
    m = (small ? m + m : m) - 1.0f;
    const Vec z = m * m;
    Vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z + e * -2.12194440e-4f - z * 0.5f;
    return m + p + e * 0.693359375f;
}

inline Vec arctangent(Vec v) {
    const IntVec sign = bits(v) & INT32_MIN;
    const Vec size = floats(bits(v) ^ sign);
    const IntVec large = size > 2.414213562373095f;
    const IntVec middle = size > 0.4142135623730950f;
    const Vec above = large ? all(-1.0f) : (middle ? size - 1.0f : size);
    const Vec below = large ? size : (middle ? size + 1.0f : all(1.0f));
    const Vec base = large ? all(1.5707963267948966f) : (middle ? all(0.7853981633974483f) : all(0.0f));
    const Vec r = above / below;
    const Vec z = r * r;
    Vec p = z * 8.05374449538e-2f - 1.38776856032e-1f;
    p = p * z + 1.99777106478e-1f;
    p = p * z - 3.33329491539e-1f;
    return floats(bits(base + (p * z * r + r)) ^ sign);
}

inline Vec area_tangent(Vec v) {
    const IntVec sign = bits(v) & INT32_MIN;
    const Vec size = floats(bits(v) ^ sign);
    const Vec z = v * v;
    Vec p = z * 1.81740078349e-1f + 8.24370301058e-2f;
    p = p * z + 1.46691431730e-1f;
    p = p * z + 1.99782164500e-1f;
    p = p * z + 3.33337300303e-1f;
    const Vec far = floats(bits(0.5f * logarithm((1.0f + size) / (1.0f - size))) ^ sign);
    return size > 0.5f ? far : p * z * v + v;
}

struct Constants {  // in the order of zoo_caustics.fused.image_constants
    float halo_x, halo_y, cos, sin, q_squared, flattening, ellipse, sphere, gamma_1, gamma_2;
    float source_x, source_y, source_cos, source_sin, inverse_ratio, exponent, b, intensity;
};
static_assert(sizeof(Constants) == CONSTANTS * sizeof(float), "one number for each constant");

// Of the tables of truncated haloes: 64 steps for each doubling of the squared distance, from 2^-20 to 2^16 arcsec^2. The
// place in a table is then a part of the number's bits. In the order of zoo_caustics.native.table_squares.
constexpr int32_t FIRST_BITS = (127 - 20) << 23, LAST_BITS = ((127 + 16) << 23) - 1, STEP_BITS = 17;
constexpr int64_t TABLE = ((LAST_BITS - FIRST_BITS) >> STEP_BITS) + 2;

struct Extended {  // masses of one scene that are not points, see zoo_caustics.extended
    const float* multipoles;  // [6] centre, then cosine and sine terms of orders 3 and 4 in arcsec
    const float* centres;     // [count, 2]
    const float* pulls;       // [count, TABLE] mass over squared distance
    int64_t count;

    // Adds the deflection of the rays at x in the row at y.
    void add(Vec x, float y, Vec& pull_x, Vec& pull_y) const {
        const Vec from_x = x - multipoles[0];
        const float from_y = y - multipoles[1];
        const Vec inverse = 1.0f / root(from_x * from_x + (from_y * from_y + TINY));
        const Vec cos = from_x * inverse, sin = from_y * inverse;
        const Vec cos_2 = cos * cos - sin * sin, sin_2 = 2.0f * cos * sin;
        harmonic<3>(cos_2 * cos - sin_2 * sin, sin_2 * cos + cos_2 * sin, cos, sin, multipoles + 2, pull_x, pull_y);
        harmonic<4>(cos_2 * cos_2 - sin_2 * sin_2, 2.0f * cos_2 * sin_2, cos, sin, multipoles + 4, pull_x, pull_y);
        for (int64_t halo = 0; halo < count; ++halo) {
            const Vec halo_x = x - centres[2 * halo];
            const float halo_y = y - centres[2 * halo + 1];
            const Vec pull = looked_up(pulls + halo * TABLE, halo_x * halo_x + halo_y * halo_y);
            pull_x += pull * halo_x;
            pull_y += pull * halo_y;
        }
    }

   private:
    template <int ORDER>
    static void harmonic(Vec cos_m, Vec sin_m, Vec cos, Vec sin, const float* strength, Vec& pull_x, Vec& pull_y) {
        constexpr float factor = 1.0f / (1 - ORDER * ORDER);
        const Vec radial = (strength[0] * cos_m + strength[1] * sin_m) * factor;
        const Vec around = (strength[1] * cos_m - strength[0] * sin_m) * (ORDER * factor);
        pull_x += radial * cos - around * sin;
        pull_y += radial * sin + around * cos;
    }

    static Vec looked_up(const float* table, Vec square) {
        IntVec i = bits(square);
        i = i < FIRST_BITS ? IntVec{} + FIRST_BITS : i;
        i = (i > LAST_BITS ? IntVec{} + LAST_BITS : i) - FIRST_BITS;
        const IntVec place = i >> STEP_BITS;
        const Vec share = __builtin_convertvector(i & ((1 << STEP_BITS) - 1), Vec) * (1.0f / (1 << STEP_BITS));
        Vec low, high;
        for (int k = 0; k < LANES; ++k) {
            low[k] = table[place[k]];
            high[k] = table[place[k] + 1];
        }
        return low + share * (high - low);
    }
};

struct Picture {  // source of one scene, with a border of one pixel of 0
    const float* pixels;  // [height + 2, width + 2]; null for a Sersic source
    int64_t height, width;

    // Bilinear between the pixels, 0 beyond them; the position in pixels from the middle of the picture.
    Vec at(Vec column, Vec row) const {
        const Vec from_left = column + 0.5f * static_cast<float>(width + 1);
        const Vec from_top = row + 0.5f * static_cast<float>(height + 1);
        Vec found;
        for (int k = 0; k < LANES; ++k) {
            const float x = from_left[k], y = from_top[k];
            if (!(x > 0.0f && x < static_cast<float>(width + 1) && y > 0.0f && y < static_cast<float>(height + 1))) {
                found[k] = 0.0f;
                continue;
            }
            const int64_t left = static_cast<int64_t>(x), top = static_cast<int64_t>(y);
            const float share_x = x - static_cast<float>(left), share_y = y - static_cast<float>(top);
            const float* upper = pixels + top * (width + 2) + left;
            const float* lower = upper + width + 2;
            const float above = upper[0] + share_x * (upper[1] - upper[0]);
            const float below = lower[0] + share_x * (lower[1] - lower[0]);
            found[k] = above + share_y * (below - above);
        }
        return found;
    }
};

// Two masses seen from the rays of a row: positions, squared Einstein radii, and distances along y.
struct Pair {
    float x_1, x_2, strength_1, strength_2, y_1, y_2, square_1, square_2;
};

// The brightness of the rays at x in the row at y.
template <bool SPHERE, bool EXTENDED, bool PICTURE>
inline Vec brightness(const Constants& c, const std::vector<Pair>& pairs, const Extended& extended,
                      const Picture& picture, Vec x, float y) {
    Vec pull_x = Vec{}, pull_y = Vec{};
    for (const Pair& pair : pairs) {
        const Vec from_1 = x - pair.x_1, from_2 = x - pair.x_2;
        const Vec square_1 = from_1 * from_1 + pair.square_1, square_2 = from_2 * from_2 + pair.square_2;
        const Vec inverse = 1.0f / (square_1 * square_2);  // a division for two masses
        const Vec pull_1 = square_2 * pair.strength_1 * inverse, pull_2 = square_1 * pair.strength_2 * inverse;
        pull_x += pull_1 * from_1;
        pull_x += pull_2 * from_2;
        pull_y += pull_1 * pair.y_1;
        pull_y += pull_2 * pair.y_2;
    }
    if (EXTENDED) extended.add(x, y, pull_x, pull_y);
    const Vec from_x = x - c.halo_x;
    const float from_y = y - c.halo_y;
    Vec halo_x, halo_y;
    if (SPHERE) {
        const Vec inverse = c.sphere / root(from_x * from_x + (from_y * from_y + TINY));
        halo_x = from_x * inverse;
        halo_y = from_y * inverse;
    } else {
        const Vec along = from_x * c.cos + from_y * c.sin, across = from_y * c.cos - from_x * c.sin;
        const Vec inverse = c.flattening / root(along * along * c.q_squared + across * across + TINY);
        const Vec pull_along = c.ellipse * arctangent(along * inverse);
        const Vec pull_across = c.ellipse * area_tangent(across * inverse);
        halo_x = pull_along * c.cos - pull_across * c.sin;
        halo_y = pull_along * c.sin + pull_across * c.cos;
    }
    const Vec offset_x = x - halo_x - (x * c.gamma_1 + c.gamma_2 * y) - pull_x - c.source_x;
    const Vec offset_y = (y - halo_y) - (x * c.gamma_2 - c.gamma_1 * y) - pull_y - c.source_y;
    const Vec major = offset_x * c.source_cos + offset_y * c.source_sin;
    const Vec minor = (offset_y * c.source_cos - offset_x * c.source_sin) * c.inverse_ratio;
    if (PICTURE) return picture.at(major, minor);
    const Vec square = major * major + minor * minor;
    const Vec power = exponential(c.exponent * logarithm(square));
    return c.intensity * exponential(c.b - c.b * (square < 1.2e-38f ? Vec{} : power));
}

struct Masses {  // those of one scene
    const float* table;  // [count, 3] x, y and Einstein radius
    int64_t count;

    float at(int64_t mass, int column) const { return mass < count ? table[3 * mass + column] : 0.0f; }

    // Fills `pairs` for the row of rays at y; beside the last of an odd number stands an empty place.
    void seen_from(float y, std::vector<Pair>& pairs) const {
        for (int64_t first = 0; first < count; first += 2) {
            Pair& pair = pairs[first / 2];
            pair.x_1 = at(first, 0);
            pair.x_2 = at(first + 1, 0);
            pair.y_1 = y - at(first, 1);
            pair.y_2 = y - at(first + 1, 1);
            pair.strength_1 = at(first, 2) * at(first, 2);
            pair.strength_2 = at(first + 1, 2) * at(first + 1, 2);
            pair.square_1 = pair.y_1 * pair.y_1 + TINY;
            pair.square_2 = pair.y_2 * pair.y_2 + TINY;
        }
    }
};

// Writes the mean over the rays of each pixel to means [pixels, pixels]; x and y hold pixels * over rays each.
template <bool SPHERE, bool EXTENDED, bool PICTURE>
void mean_brightness(const Constants& c, const Masses& masses, const Extended& extended, const Picture& picture,
                     const float* x, const float* y, int64_t pixels, int64_t over, float* means) {
    const int64_t rays = pixels * over, vectors = (rays + LANES - 1) / LANES;
    std::vector<float> padded(vectors * LANES, 0.0f), sums(vectors * LANES);
    std::copy(x, x + rays, padded.begin());
    std::vector<Pair> pairs((masses.count + 1) / 2);
    const float share = 1.0f / static_cast<float>(over * over);
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t row = pixel * over; row < (pixel + 1) * over; ++row) {
            masses.seen_from(y[row], pairs);
            for (int64_t i = 0; i < vectors * LANES; i += LANES)
                store(&sums[i], load(&sums[i]) + brightness<SPHERE, EXTENDED, PICTURE>(c, pairs, extended, picture,
                                                                                       load(&padded[i]), y[row]));
        }
        for (int64_t column = 0; column < pixels; ++column) {
            float sum = 0.0f;
            for (int64_t ray = column * over; ray < (column + 1) * over; ++ray) sum += sums[ray];
            means[pixel * pixels + column] = sum * share;
        }
    }
}

// Convolves image [size, size] with the outer product of taps [2 radius + 1], to out [size - 2 radius, the same].
void convolve(const float* image, int64_t size, const double* taps, int64_t radius, float* out) {
    const int64_t kept = size - 2 * radius;
    std::vector<double> down(size), across(kept);
    for (int64_t i = 0; i < kept; ++i) {
        std::fill(down.begin(), down.end(), 0.0);
        for (int64_t tap = 0; tap <= 2 * radius; ++tap) {
            const float* from = image + (i + tap) * size;
            for (int64_t j = 0; j < size; ++j) down[j] += taps[tap] * from[j];
        }
        std::fill(across.begin(), across.end(), 0.0);
        for (int64_t tap = 0; tap <= 2 * radius; ++tap)
            for (int64_t j = 0; j < kept; ++j) across[j] += taps[tap] * down[j + tap];
        std::copy(across.begin(), across.end(), out + i * kept);
    }
}

}  // namespace

// Renders `images` scenes.
//
// constants: [images, 18]; masses: [images, places, 3], of which the first counts[image] are there.
// multipoles: [images, 6], or null where no scene has extended masses; then centres: [images, haloes, 2] and
// pulls: [images, haloes, TABLE] of truncated haloes, 0 where there is none.
// pictures: [images, height + 2, width + 2] with a border of 0, or null for Sersic sources. Of the constants a picture takes
// position and angle, with the size of its pixels as effective radius, and an axis ratio of 1.
// x, y: [pixels * over] positions of the rays; pixels is that of an image padded for the PSF.
// taps: [2 radius + 1] of a symmetric PSF that is their outer product; where it is null, out is padded and not convolved.
// out: [images, pixels - 2 radius, pixels - 2 radius].
// An image is the work of one of `threads` threads, and a thread that is done takes the next: a program beside this one
// costs its share of the cores and no more.
// Returns 0, or 1 where memory ran out: then `out` is incomplete.
extern "C" int zoo_render(int64_t images, const float* constants, const float* masses, const int64_t* counts,
                          int64_t places, const float* multipoles, const float* centres, const float* pulls,
                          int64_t haloes, const float* pictures, int64_t height, int64_t width, const float* x,
                          const float* y, int64_t pixels, int64_t over, const double* taps, int64_t radius, float* out,
                          int64_t threads) {
    decltype(&mean_brightness<true, true, true>) ways[] = {
        mean_brightness<false, false, false>, mean_brightness<false, false, true>, mean_brightness<false, true, false>,
        mean_brightness<false, true, true>,   mean_brightness<true, false, false>, mean_brightness<true, false, true>,
        mean_brightness<true, true, false>,   mean_brightness<true, true, true>};
    const int64_t kept = taps ? pixels - 2 * radius : pixels;
    const auto render = [&](int64_t image, std::vector<float>& means) {
        Constants c;
        std::memcpy(&c, constants + image * CONSTANTS, sizeof c);
        const Masses own{masses + image * places * 3, counts[image]};
        float* to = out + image * kept * kept;
        float* sums_to = taps ? means.data() : to;
        Extended extended{nullptr, nullptr, nullptr, 0};
        if (multipoles)
            extended = {multipoles + image * 6, centres + image * haloes * 2, pulls + image * haloes * TABLE, haloes};
        Picture picture{nullptr, height, width};
        if (pictures) picture.pixels = pictures + image * (height + 2) * (width + 2);
        const bool sphere = c.ellipse == 0.0f;
        ways[4 * sphere + 2 * (multipoles != nullptr) + (pictures != nullptr)](c, own, extended, picture, x, y, pixels,
                                                                              over, sums_to);
        if (taps) convolve(means.data(), pixels, taps, radius, to);
    };
    std::atomic<int64_t> next{0};
    std::atomic<bool> out_of_memory{false};
    const auto work = [&] {
        try {
            std::vector<float> means(taps ? pixels * pixels : 0);
            for (int64_t image = next++; image < images; image = next++) render(image, means);
        } catch (const std::bad_alloc&) {
            out_of_memory = true;
            next = images;  // the others end, too
        }
    };
    std::vector<std::thread> helpers;
    try {
        for (int64_t thread = 1; thread < std::min(threads, images); ++thread) helpers.emplace_back(work);
    } catch (const std::system_error&) {
        // The system allows no more threads: those that there are do all the work.
    } catch (const std::bad_alloc&) {
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    return out_of_memory;
}
