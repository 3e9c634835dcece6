"""Bodies for the operations of an OpenAPI document: a valid one, and many that are wrong in one
place. Nothing here knows any operation."""

import copy
import json

import jsonschema

CANDIDATES = [True, 5, "text", [], {}, [True], {"member": True}]


def longest_url(limit):
    """As long a host as there is, and a path for the rest: either has a limit of its own."""
    host = "http://" + ".".join(["h" * 60] * 4)
    return (host + "/").ljust(limit, "x")


class Schemas:
    def __init__(self, document):
        self.document = document
        self.resolver = jsonschema.RefResolver.from_schema(document)

    def validator(self, schema):
        return jsonschema.Draft202012Validator(schema, resolver=self.resolver)

    def resolve(self, schema):
        while "$ref" in schema:
            found = self.document
            for part in schema["$ref"].lstrip("#/").split("/"):
                found = found[part]
            schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema

    def alternatives(self, schema):
        """A body's, or a value's: those of anyOf, unless they only say which members are required."""
        schema = self.resolve(schema)
        choices = [self.resolve(choice) for choice in schema.get("anyOf", [])]
        return [schema] if not choices or "properties" in schema else choices

    def type_of(self, schema):
        kind = schema.get("type")
        return next((k for k in kind if k != "null"), None) if isinstance(kind, list) else kind

    def has_content(self, schema):
        schema = self.alternatives(schema)[0]
        if "examples" in schema:
            return True
        if self.type_of(schema) == "array":
            return self.has_content(schema.get("items", {}))
        return any(self.has_content(member) for member in schema.get("properties", {}).values())

    def example(self, schema):
        """A valid value with everything that there is an example for."""
        schema = self.resolve(schema)
        if "examples" in schema:
            return copy.deepcopy(schema["examples"][0])
        schema = self.alternatives(schema)[0]
        kind = self.type_of(schema)
        if "examples" in schema:
            return copy.deepcopy(schema["examples"][0])
        if "enum" in schema:
            return schema["enum"][0]
        if kind == "object":
            return {name: self.example(member) for name, member in schema.get("properties", {}).items()
                    if name in schema.get("required", []) or self.has_content(member)}
        if kind == "array":
            return [self.example(schema["items"])] if "items" in schema else []
        return {"string": "text", "integer": schema.get("minimum", 1), "number": schema.get("minimum", 1),
                "boolean": True}.get(kind)

    def wrong_types(self, schema):
        """Values that are not valid there, one of each JSON type that is not."""
        validator = self.validator(schema)
        return [value for value in CANDIDATES if not validator.is_valid(value)]

    def too_large(self, schema):
        """Values of the right type beyond a limit."""
        schema = self.alternatives(schema)[0]
        kind, limit = self.type_of(schema), schema.get("x-muster-bytes-max")
        if kind == "string" and limit and "enum" not in schema:
            yield ("http://a.example/" if schema.get("format") == "uri" else "").ljust(limit + 1, "x")
        elif kind == "object" and limit:
            yield {"padding": "x" * limit}
        elif kind == "array" and limit:
            yield ["x" * limit]
        elif kind == "array" and "maxItems" in schema:
            yield [self.example(schema["items"])] * (schema["maxItems"] + 1)
        elif kind == "object" and "maxProperties" in schema:
            value = self.example(schema["additionalProperties"])
            yield {"m%d" % i: value for i in range(schema["maxProperties"] + 1)}
        elif kind in ("integer", "number"):
            if "minimum" in schema:
                yield schema["minimum"] - 1
            if "maximum" in schema:
                yield schema["maximum"] * 2 + 1

    def largest(self, schema):
        """Valid values at each limit of their own: (what, value)."""
        for schema in self.alternatives(schema):
            kind, limit = self.type_of(schema), schema.get("x-muster-bytes-max")
            if kind == "string" and limit and "enum" not in schema:
                yield "longest", longest_url(limit) if schema.get("format") == "uri" else "x" * limit
            elif kind == "object" and limit:
                value = {**self.example(schema), "padding": ""}
                yield "largest", {**value, "padding": "x" * (limit - len(json.dumps(value)))}
            elif kind == "array" and limit:
                yield "largest", ["x" * (limit - len('[""]'))]
            elif kind == "array" and "maxItems" in schema:
                yield "most items", [self.numbered(schema["items"], i) for i in range(schema["maxItems"])]
            elif kind == "object" and "maxProperties" in schema:
                value = self.example(schema["additionalProperties"])
                yield "most members", {"m%d" % i: value for i in range(schema["maxProperties"])}
            elif kind in ("integer", "number"):
                for end in ("minimum", "maximum"):
                    if end in schema:
                        yield end, schema[end]
            elif "enum" in schema:
                for word in schema["enum"]:
                    yield word, word

    def numbered(self, schema, number):
        """The number-th of values that differ: what is listed may have to."""
        texts = [choice for choice in self.alternatives(schema) if self.type_of(choice) == "string"]
        return "item-%d" % number if texts else self.example(schema)

    def members(self, schema, name=""):
        """(name, its schema) of each member of an object, and of those inside, and of the first item of lists."""
        for alternative in self.alternatives(schema):
            kind = self.type_of(alternative)
            if kind == "object":
                for member, inner in alternative.get("properties", {}).items():
                    field = name + "." + member if name else member
                    yield field, inner
                    yield from self.members(inner, field)
            elif kind == "array" and "items" in alternative:
                yield name + "[0]", alternative["items"]
                yield from self.members(alternative["items"], name + "[0]")

    def variations(self, schema, value, name=""):
        """Yields (what, name of the field, the value with that field left out, null or at a limit): all valid."""
        for alternative in self.alternatives(schema):
            if not self.validator(alternative).is_valid(value):
                continue
            kind = self.type_of(alternative)
            if kind == "object":
                yield from self.member_variations(alternative, value, name)
            elif kind == "array" and value and "items" in alternative:
                for what, limit in self.largest(alternative["items"]):
                    yield what, name + "[0]", [limit] + value[1:]
                for what, field, item in self.variations(alternative["items"], value[0], name + "[0]"):
                    yield what, field, [item] + value[1:]

    def member_variations(self, schema, value, name):
        needed = schema.get("required", []) + [choice["required"][0] for choice in schema.get("anyOf", [])]
        for member, member_schema in schema.get("properties", {}).items():
            field = name + "." + member if name else member
            inner = value.get(member, self.example(member_schema))
            if member not in needed:
                yield "left out", field, {k: v for k, v in value.items() if k != member}
                yield "null", field, {**value, member: None}
            for what, limit in self.largest(member_schema):
                yield what, field, {**value, member: limit}
            for what, inner_field, one in self.variations(member_schema, inner, field):
                yield what, inner_field, {**value, member: one}

    def mutations(self, schema, value, name=""):
        """Yields (what, name of the wrong field, the value with that field wrong)."""
        for alternative in self.alternatives(schema):
            if not self.validator(alternative).is_valid(value):
                continue
            kind = self.type_of(alternative)
            if kind == "object" and "properties" in alternative:
                yield from self.member_mutations(alternative, value, name)
            elif kind == "array" and value and "items" in alternative:
                for what, field, item in self.value_mutations(alternative["items"], value[0], name + "[0]"):
                    yield what, field, [item] + value[1:]

    def value_mutations(self, schema, value, name):
        for wrong in self.wrong_types(schema):
            yield "mistyped: %s" % json.dumps(wrong), name, wrong
        for large in self.too_large(schema):
            yield "too large", name, large
        yield from self.mutations(schema, value, name)

    def member_mutations(self, schema, value, name):
        prefix = name + "." if name else ""
        for required in schema.get("required", []):
            yield "missing", prefix + required, {k: v for k, v in value.items() if k != required}
        groups = [choice["required"][0] for choice in schema.get("anyOf", [])]
        if groups:
            yield "missing", prefix + groups[0], {k: v for k, v in value.items() if k not in groups}
        for member, member_schema in schema["properties"].items():
            inner = value.get(member, self.example(member_schema))
            for what, field, wrong in self.value_mutations(member_schema, inner, prefix + member):
                yield what, field, {**value, member: wrong}
