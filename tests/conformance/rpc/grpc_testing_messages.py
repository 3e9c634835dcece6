"""Message classes of grpc.testing for Python, made from the descriptors that protoc wrote.

The descriptor set lies beside this file's data; no code is generated.
"""

import os
import types

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS = "tests/conformance/rpc/proto/testing_proto.protoset"


def _load():
    path = os.path.join(os.environ.get("TEST_SRCDIR", "."), os.environ.get("TEST_WORKSPACE", "."), DESCRIPTORS)
    with open(path, "rb") as file:
        files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name for file in files.file], pool) \
        if hasattr(message_factory, "GetMessageClassesForFiles") \
        else message_factory.MessageFactory(pool).GetMessages([file.name for file in files.file])
    return types.SimpleNamespace(**{name.rsplit(".", 1)[-1]: cls for name, cls in classes.items()})


messages = _load()
