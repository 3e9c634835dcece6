"""Code generated from .proto files: protobuf-c for the services, nanopb for the worker.

    muster_proto(name, srcs, deps)      the files, and a descriptor set NAME.protoset
    protobuf_c_library(name, proto)     protobuf-c's code as a cc_library
    nanopb_library(name, proto)         nanopb's code as a cc_library
    embedded_file(name, src, symbol)    any file's bytes as a C array

Generated headers are included by their path below proto/: "muster/v1/worker.pb-c.h",
"muster/v1/worker.pb.h". Each rule declares its outputs and takes only the .proto files
that the generated ones import.
"""

ProtoFilesInfo = provider(
    doc = "Files of one muster_proto, and all that they import.",
    fields = {
        "direct": "list of the target's own .proto files",
        "options": "list of the target's own nanopb .options files",
        "root": "folder that import paths start from",
        "transitive": "depset of .proto and .options files",
    },
)

def _import_path(file, root):
    return file.path[len(root) + 1:]

def _muster_proto_impl(ctx):
    root = ctx.attr.root
    transitive = depset(
        ctx.files.srcs + ctx.files.options,
        transitive = [dep[ProtoFilesInfo].transitive for dep in ctx.attr.deps],
    )
    descriptor_set = ctx.actions.declare_file(ctx.label.name + ".protoset")
    ctx.actions.run(
        executable = "/usr/bin/protoc",
        arguments = [
            "-I" + root,
            "--include_imports",
            "--descriptor_set_out=" + descriptor_set.path,
        ] + [_import_path(file, root) for file in ctx.files.srcs],
        inputs = transitive,
        outputs = [descriptor_set],
        mnemonic = "ProtoDescriptorSet",
    )
    return [
        DefaultInfo(files = depset([descriptor_set])),
        ProtoFilesInfo(
            direct = ctx.files.srcs,
            options = ctx.files.options,
            root = root,
            transitive = transitive,
        ),
    ]

muster_proto = rule(
    implementation = _muster_proto_impl,
    attrs = {
        "deps": attr.label_list(providers = [ProtoFilesInfo]),
        "options": attr.label_list(allow_files = [".options"]),
        "root": attr.string(default = "proto", doc = "folder that import paths start from"),
        "srcs": attr.label_list(allow_files = [".proto"], mandatory = True),
    },
)

def _generated_impl(ctx):
    info = ctx.attr.proto[ProtoFilesInfo]
    sources, headers = [], []
    for file in info.direct:
        # Declared beside the BUILD file, under the path that the generator writes to.
        if not file.dirname.startswith(ctx.label.package):
            fail("%s does not lie below //%s" % (file.path, ctx.label.package))
        stem = file.path[len(ctx.label.package) + 1:-len(".proto")]
        sources.append(ctx.actions.declare_file(stem + ctx.attr.suffix + ".c"))
        headers.append(ctx.actions.declare_file(stem + ctx.attr.suffix + ".h"))
    out = ctx.bin_dir.path + "/" + info.root
    ctx.actions.run(
        executable = "/usr/bin/protoc",
        arguments = ["-I" + info.root] +
                    [argument.format(root = info.root, out = out) for argument in ctx.attr.generator] +
                    [_import_path(file, info.root) for file in info.direct],
        inputs = info.transitive,
        outputs = sources + headers,
        mnemonic = "ProtoCode",
        use_default_shell_env = True,
    )
    return [
        DefaultInfo(files = depset(sources + headers)),
        OutputGroupInfo(sources = depset(sources), headers = depset(headers)),
    ]

_generated = rule(
    implementation = _generated_impl,
    attrs = {
        "generator": attr.string_list(mandatory = True),
        "proto": attr.label(providers = [ProtoFilesInfo], mandatory = True),
        "suffix": attr.string(mandatory = True),
    },
)

def _generated_library(name, proto, suffix, generator, runtime, deps, include, visibility):
    _generated(
        name = name + "_generated",
        generator = generator,
        proto = proto,
        suffix = suffix,
    )
    for group in ["sources", "headers"]:
        native.filegroup(
            name = name + "_" + group,
            srcs = [name + "_generated"],
            output_group = group,
        )
    native.cc_library(
        name = name,
        srcs = [name + "_sources"],
        hdrs = [name + "_headers"],
        # Not our code: its warnings are not our errors.
        copts = ["-w"],
        includes = [include],
        visibility = visibility,
        deps = [runtime] + deps,
    )

def protobuf_c_library(name, proto, deps = [], include = ".", visibility = ["//visibility:public"]):
    """protobuf-c's code for a muster_proto; deps are the libraries of what it imports."""
    _generated_library(
        name,
        proto,
        ".pb-c",
        ["--c_out={out}"],
        "@system//:protobuf_c",
        deps,
        include,
        visibility,
    )

def nanopb_library(name, proto, deps = [], include = ".", visibility = ["//visibility:public"]):
    """nanopb's code for a muster_proto, with the .options files beside it."""
    _generated_library(
        name,
        proto,
        ".pb",
        ["--nanopb_out={out}", "--nanopb_opt=-I{root}"],
        "@system//:nanopb",
        deps,
        include,
        visibility,
    )

def embedded_file(name, src, symbol, visibility = ["//visibility:public"]):
    """The bytes of src as `const unsigned char SYMBOL[]` and `const size_t SYMBOL_bytes`.

    The header is NAME.h, included by its path from the top of the tree.
    """
    native.genrule(
        name = name + "_generated",
        srcs = [src],
        outs = [name + ".c", name + ".h"],
        cmd = "$(location //bazel:embed) %s $(location %s) $(location %s.c) $(location %s.h)" %
              (symbol, src, name, name),
        tools = ["//bazel:embed"],
    )
    native.cc_library(
        name = name,
        srcs = [name + ".c"],
        hdrs = [name + ".h"],
        visibility = visibility,
    )
