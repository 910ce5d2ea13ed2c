// The arithmetic of warp.h; a sum inside mma is taken in float32, in order.
#include "warp.h"
#include <algorithm>
#include <cstring>
#include "copies.h"

namespace emu {

void copy_async(void* to, const void* from, int bytes, bool valid, int line) {
    const auto start = reinterpret_cast<uintptr_t>(to);
    const auto shared = reinterpret_cast<uintptr_t>(block.shared);
    if (start % bytes || reinterpret_cast<uintptr_t>(from) % bytes)
        fail("cp.async with an address that is not aligned", line);
    if (start < shared || start + bytes > shared + block.shared_bytes)
        fail("cp.async to outside of the shared memory", line);
    std::memset(to, 0xFF, bytes);
    copies().open.push_back({to, from, bytes, valid});
}

void commit_copies() {
    Copies& mine = copies();
    mine.groups.push_back(std::move(mine.open));
    mine.open.clear();
}

void wait_copies(int left) {
    auto& groups = copies().groups;
    while (int(groups.size()) > left) {
        for (const Copy& copy : groups.front()) {
            if (copy.valid)
                std::memcpy(copy.to, copy.from, copy.bytes);
            else
                std::memset(copy.to, 0, copy.bytes);
        }
        groups.erase(groups.begin());
    }
}

long long bank_cycles, bank_ideal;

void load_matrices(void** lanes, int) {
    for (int matrix = 0; matrix < 4; matrix++) {
        const char* row[8];
        int used[8] = {};  // times each group of four banks is read
        for (int r = 0; r < 8; r++) {
            row[r] = static_cast<const char*>(static_cast<Rows*>(lanes[matrix * 8 + r])->row);
            const auto address = reinterpret_cast<uintptr_t>(row[r]);
            if (address % 16) fail("ldmatrix from an address that is not aligned", 0);
            used[address / 16 % 8]++;
        }
        bank_cycles += *std::max_element(used, used + 8);
        bank_ideal += 1;
        for (int lane = 0; lane < WARP; lane++) {
            const Rows* mine = static_cast<Rows*>(lanes[lane]);
            uint16_t pair[2];
            for (int i = 0; i < 2; i++) {
                int r = lane / 4, c = lane % 4 * 2 + i;
                if (mine->transposed) std::swap(r, c);
                std::memcpy(&pair[i], row[r] + c * 2, 2);
            }
            std::memcpy(&mine->fragment[matrix], pair, 4);
        }
    }
}

void load_words(void** lanes, int count) {
    std::vector<uintptr_t> banks[32];  // the different words that each bank is asked for
    size_t most = 0;
    for (int lane = 0; lane < count; lane++) {
        const auto word = reinterpret_cast<uintptr_t>(static_cast<Word*>(lanes[lane])->address) / 4;
        auto& asked = banks[word % 32];
        if (std::find(asked.begin(), asked.end(), word) == asked.end()) asked.push_back(word);
        most = std::max(most, asked.size());
    }
    bank_cycles += most;
    bank_ideal += 1;
}

namespace {

float as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

template <int K>
void multiply(void** lanes, const float (&a)[16][K], const float (&b)[K][8]) {
    float c[16][8] = {};
    for (int m = 0; m < 16; m++)
        for (int k = 0; k < K; k++)
            for (int n = 0; n < 8; n++) c[m][n] += a[m][k] * b[k][n];
    for (int lane = 0; lane < WARP; lane++)
        for (int i = 0; i < 4; i++)
            static_cast<Fragments*>(lanes[lane])->d[i] +=
                c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

}  // namespace

void mma_bf16(void** lanes, int) {
    const auto half = [](uint32_t pair, int i) {
        return as_float(i ? pair & ~0xFFFFu : pair << 16);
    };
    float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const Fragments* f = static_cast<Fragments*>(lanes[lane]);
        const int group = lane / 4, two = lane % 4 * 2;
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < 4; i++)
                a[group + i % 2 * 8][two + h + i / 2 * 8] = half(f->a[i], h);
            for (int i = 0; i < 2; i++) b[two + h + i * 8][group] = half(f->b[i], h);
        }
    }
    multiply(lanes, a, b);
}

void mma_tf32(void** lanes, int) {
    const auto tf32 = [](uint32_t bits) { return as_float(bits & ~0x1FFFu); };
    float a[16][8], b[8][8];
    for (int lane = 0; lane < WARP; lane++) {
        const Fragments* f = static_cast<Fragments*>(lanes[lane]);
        for (int i = 0; i < 4; i++) a[lane / 4 + i % 2 * 8][lane % 4 + i / 2 * 4] = tf32(f->a[i]);
        for (int i = 0; i < 2; i++) b[lane % 4 + i * 4][lane / 4] = tf32(f->b[i]);
    }
    multiply(lanes, a, b);
}

}  // namespace emu
