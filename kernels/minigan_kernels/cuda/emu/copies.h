// The copies of cp.async that a thread has in flight.
#pragma once
#include <vector>

namespace emu {

struct Copy {
    void* to;
    const void* from;
    int bytes;
    bool valid;
};

struct Copies {
    std::vector<Copy> open;                 // of no group yet
    std::vector<std::vector<Copy>> groups;  // committed and not waited for, the oldest first
};

Copies& copies();  // of the thread that runs

}  // namespace emu
