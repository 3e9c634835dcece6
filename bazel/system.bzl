"""Libraries installed on this machine, as Bazel targets.

A repository rule asks pkg-config for each library's flags once, when the workspace is
set up, and writes one cc_library for each. Headers lie in the compiler's own search
path (/usr/include), so a target is its linker flags and definitions.
"""

def _ask(repository_ctx, package, what):
    result = repository_ctx.execute(["pkg-config", what, package])
    if result.return_code != 0:
        fail("pkg-config does not know '%s': run bazel/setup to install what is missing.\n%s" %
             (package, result.stderr))
    return [flag for flag in result.stdout.strip().split(" ") if flag]

def _target(name, copts, linkopts):
    defines = [flag[2:] for flag in copts if flag.startswith("-D")]
    return """
cc_library(
    name = "{name}",
    defines = {defines},
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
""".format(name = name, defines = defines, linkopts = linkopts)

def _system_libraries_impl(repository_ctx):
    text = "# Written by //bazel:system.bzl from what pkg-config says of this machine.\n"
    for name, package in repository_ctx.attr.packages.items():
        text += _target(
            name,
            _ask(repository_ctx, package, "--cflags"),
            _ask(repository_ctx, package, "--libs"),
        )
    for name, flags in repository_ctx.attr.flags.items():
        text += _target(name, [], flags.split(" "))
    repository_ctx.file("BUILD", text)

system_libraries = repository_rule(
    implementation = _system_libraries_impl,
    attrs = {
        "flags": attr.string_dict(doc = "target name -> linker flags"),
        "packages": attr.string_dict(doc = "target name -> pkg-config package"),
    },
    environ = ["PKG_CONFIG_PATH"],
    local = True,
)
