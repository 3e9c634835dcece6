"""Our own C: the rules with warnings as errors, and fuzz targets."""

# What STYLE asks of our code; generated code and system headers are exempt.
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Werror",
]

# For C++, which only the tests use.
CXX_WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]

def muster_library(name, copts = [], visibility = ["//visibility:public"], **kwargs):
    native.cc_library(name = name, copts = WARNINGS + copts, visibility = visibility, **kwargs)

def muster_binary(name, copts = [], visibility = ["//visibility:public"], **kwargs):
    native.cc_binary(name = name, copts = WARNINGS + copts, visibility = visibility, **kwargs)

def muster_test(name, srcs, deps = [], copts = [], size = "small", **kwargs):
    """A GoogleTest program: .cc files that include our C headers."""
    native.cc_test(
        name = name,
        srcs = srcs,
        size = size,
        copts = CXX_WARNINGS + copts,
        deps = deps + ["@system//:gtest", "@system//:gtest_main"],
        **kwargs
    )

def fuzz_test(name, srcs, corpus = None, deps = [], runs = 20000, size = "small", **kwargs):
    """A parser's fuzz target: defines LLVMFuzzerTestOneInput.

    Built with --config=fuzz it is a libFuzzer program. Built otherwise it has a driver of
    ours, which runs every file of the corpus and then `runs` mutations of them, the same
    ones every time. `bazel test` runs it either way with that fixed number of inputs.

    Args:
      corpus: folder below this package with seed inputs, files small enough to read.
      runs: how many inputs a test run tries.
    """
    seeds = native.glob([corpus + "/*"], allow_empty = False) if corpus else []
    args = ["-runs=%d" % runs, "-seed=1", "-max_len=65536"]
    if seeds:
        args.append("-seed_inputs=" + ",".join([native.package_name() + "/" + seed for seed in seeds]))
    native.cc_test(
        name = name,
        srcs = srcs,
        size = size,
        args = args,
        copts = WARNINGS + ["-Wno-missing-prototypes"],
        data = seeds,
        linkopts = select({
            "//bazel:libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        # Computing all the time, it leaves the machine's cores to few beside it (see bazel/check).
        tags = ["cpu:3"],
        deps = deps + select({
            "//bazel:libfuzzer": [],
            "//conditions:default": ["//tests/fuzz:driver"],
        }),
        **kwargs
    )
