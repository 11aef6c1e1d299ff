"""Makes docs/API.md from control/openapi.json, or checks that it is made from it.

    python3 .ci/api_doc.py            checks
    python3 .ci/api_doc.py --write    makes it
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "control/openapi.json"
PAGE = ROOT / "docs/API.md"
HEAD = """\
# API

<!-- Made from control/openapi.json by `python3 .ci/api_doc.py --write`. Change the code, not this page. -->

The API is at `/api/v1`, and at `/Api/v1` too: over TLS at the address `https` of the configuration, and over plain HTTP at the address `http` if that is on loopback. The whole document is [control/openapi.json](../control/openapi.json) (OpenAPI 3.1); [OPERATIONS.md](OPERATIONS.md) shows how to make keys.

- Every request sends `Authorization: Bearer nuk_...`, an API key. A key has scopes: `read`, `operate`, `tokens`, `manage`. The key of a tenant sees this tenant alone; what belongs to others looks as if it did not exist.
- Errors are [problem details](https://www.rfc-editor.org/rfc/rfc9457): `type` is for programs, `detail` for people.
- Lists come in pages of at most 200. `next` of an answer is `cursor` of the next request.
- A request that makes something may send `Idempotency-Key`. Sent again with the same key within a day, it is carried out once, and gets the same answer.
- An address may make 100 requests a second, and 400 at once. More get 429.
- Times are written as in `2026-11-29T12:00:00Z`. `X-Request-Id` of a request is repeated in the answer and stands in the audit.

| request | does | scope | parameters and body | answer |
|---|---|---|---|---|
"""


def resolve(document: dict, schema: dict) -> tuple[str, dict]:
    """Returns the name of a schema, and what it refers to."""
    name = ""
    while "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        schema = document["components"]["schemas"][name]
    return name, schema


def properties(document: dict, schema: dict) -> dict:
    """Returns the fields of an object, those of its parts included, each with whether it must be sent."""
    found: dict[str, tuple[dict, bool]] = {}
    _, schema = resolve(document, schema)
    for part in schema.get("allOf", []):
        found |= properties(document, part)
    needed = schema.get("required", [])
    return found | {n: (p, n in needed) for n, p in schema.get("properties", {}).items()}


def kind(document: dict, schema: dict) -> str:
    """Returns the type of a value in words."""
    options = schema.get("oneOf") or schema.get("anyOf")
    if options:
        named = [kind(document, option) for option in options if option.get("type") != "null"]
        return " or ".join(named)
    name, schema = resolve(document, schema)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(document, schema['items'])}"
    if name:
        return f"[{name}](#{name.lower()})"
    types = schema.get("type", "object")
    types = [types] if isinstance(types, str) else [t for t in types if t != "null"]
    text = "time" if schema.get("format") == "date-time" else types[0]
    limits = [f"{schema[k]} {w}" for k, w in (("minimum", "or more"), ("maximum", "at most")) if k in schema]
    return text if not limits or schema.get("minimum") == 0 and len(limits) == 1 else f"{text}, {', '.join(limits)}"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def row(document: dict, method: str, path: str, operation: dict) -> str:
    takes = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query":
            takes.append(f"`{parameter['name']}`")
    body = operation.get("requestBody")
    if body:
        takes.append(kind(document, body["content"]["application/json"]["schema"]))
    status = min(status for status in operation["responses"])
    answer = operation["responses"][status]
    content = answer.get("content", {}).get("application/json")
    answers = kind(document, content["schema"]) if content else answer["description"].lower()
    scope = operation["security"][0]["key"][0]
    does = cell(operation.get("summary") or operation["description"])
    return f"| `{method.upper()} {path}` | {does} | `{scope}` | {', '.join(takes)} | {status}: {answers} |"


def page(document: dict) -> str:
    lines = []
    for path, methods in sorted(document["paths"].items()):
        lines += [row(document, method, path, operation) for method, operation in methods.items()]
    text = HEAD + "\n".join(lines) + "\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        fields = properties(document, schema)
        if not fields:
            continue
        text += f"\n## {name}\n\n{cell(schema.get('description', ''))}\n\n| field | type | |\n|---|---|---|\n"
        for field, (of, needed) in fields.items():
            about = cell(of.get("description", ""))
            text += f"| `{field}`{'' if needed else ' (optional)'} | {kind(document, of)} | {about} |\n"
    return text


def main() -> int:
    made = page(json.loads(DOCUMENT.read_text(encoding="utf-8")))
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
        print("docs/API.md is not made from control/openapi.json: python3 .ci/api_doc.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
