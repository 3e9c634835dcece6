// Errors on demand, for tests that try every path: "fail the n-th step from now, m times".
//
// A step is whatever the tested code's surroundings count as one: for a store, every read,
// write, sync, truncation and opening of a file. A test runs its scenario with n = 1, 2, 3, …
// until a run is over before its n-th step: then every step has failed once.

#pragma once

struct Fault {
    long steps_until = 0; // 0: never
    long times = 1;
    long hits = 0;

    void arm(long n, long m = 1)
    {
        steps_until = n;
        times = m;
        hits = 0;
    }

    // Whether this step is to fail.
    bool step()
    {
        if (steps_until == 0)
            return false;
        if (steps_until > 1) {
            steps_until--;
            return false;
        }
        if (hits == times) {
            steps_until = 0;
            return false;
        }
        hits++;
        return true;
    }
};
