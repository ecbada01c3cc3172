#!/usr/bin/env python3
"""Makes a typed client for Python (3.11 or later, nothing but the standard library) from a node's OpenAPI document.

    python3 generate.py [OPENAPI.json] > coalition_client.py

Each schema becomes a TypedDict (a type alias where it is an enumeration or one of several), each operation that
answers JSON, text or bytes a method of `Client`. Pages of the console and the stream of events are left out; for the
latter `Client.events` is written by hand below.
"""

import json
import keyword
import re
import sys
from pathlib import Path

HEAD = '''"""A typed client of a Coalition node. Generated from its OpenAPI document: do not edit."""

from __future__ import annotations

import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Tuple, TypedDict, Union, cast


class Refused(Exception):
    """A refusal (RFC 9457): `code` is stable, `remedy` says what would be right."""

    def __init__(self, status: int, body: Dict[str, Any], request: Optional[str], retry_after: Optional[float]):
        self.status = status
        self.code: str = str(body.get("code", ""))
        self.detail: str = str(body.get("detail", ""))
        self.remedy: str = str(body.get("remedy", ""))
        self.request = request
        self.retry_after = retry_after
        super().__init__(f"{self.code} ({status}): {self.detail}; remedy: {self.remedy} (request {request})")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def idempotency_key() -> str:
    """A fresh key; keep it, and repeat what has no answer under the same one."""
    return str(uuid.uuid4())


class Client:
    """One node, at `base` (https://HOST:PORT), known by the certificates in the PEM file `trusted`."""

    def __init__(self, base: str, trusted: Optional[str] = None, timeout: float = 60.0, attempts: int = 4):
        self.base = base.rstrip("/")
        self.timeout = timeout
        self.attempts = attempts
        self.token: Optional[str] = None
        self.next: Optional[Tuple[str, str]] = None
        self._tags: Dict[str, Any] = {}
        context = ssl.create_default_context(cafile=trusted)
        https = urllib.request.HTTPSHandler(context=context)
        self._opener = urllib.request.build_opener(https, _NoRedirects())

    def login(self, user: str, password: str, code: Optional[str] = None) -> None:
        """Begins a session, in which later requests are made."""
        request: SessionRequest = {"user": user, "password": password}
        if code is not None:
            request["code"] = code
        self.token = self.sign_in(request)["token"]

    def _open(self, method: str, path: str, query: Dict[str, Any], headers: Dict[str, Any], body: Optional[bytes]) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in given.items()}
        url = self.base + path + ("?" + urllib.parse.urlencode(texts) if texts else "")
        request = urllib.request.Request(url, data=body, method=method)
        for name, value in headers.items():
            if value is not None:
                request.add_header(name, str(value))
        if self.token is not None:
            request.add_header("Authorization", "Bearer " + self.token)
        return self._opener.open(request, timeout=self.timeout)

    def _call(self, method: str, path: str, query: Dict[str, Any], headers: Dict[str, Any], body: Optional[bytes], repeats: bool) -> Any:
        """The answer's body, decoded if it is JSON. Waits and repeats when the node says so and repeating is safe;
        what has not changed since it was last got is not sent again."""
        key = path + "?" + urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
        known = self._tags.get(key) if method == "GET" else None
        if known is not None:
            headers = {"If-None-Match": known[0], **headers}
        for attempt in range(1, self.attempts + 1):
            try:
                with self._open(method, path, query, headers, body) as answer:
                    content = answer.read()
                    is_json = answer.headers.get_content_type() == "application/json"
                    decoded = json.loads(content) if is_json and content else content or None
                    tag = answer.headers.get("ETag")
                    self.next = self._following(answer.headers.get("Link"))
                    if method == "GET" and tag and is_json:
                        if len(self._tags) >= 256:
                            self._tags.clear()
                        self._tags[key] = (tag, content)
                    return decoded
            except urllib.error.HTTPError as error:
                if error.code == 304 and known is not None:
                    self.next = self._following(error.headers.get("Link"))
                    return json.loads(known[1])
                content = error.read()
                try:
                    told = json.loads(content)
                except ValueError:
                    told = {}
                after = error.headers.get("Retry-After")
                wait = float(after) if after and after.isdigit() else None
                problem = Refused(error.code, told, error.headers.get("x-request-id"), wait)
                if not repeats or error.code not in (429, 503) or attempt == self.attempts:
                    raise problem from None
                time.sleep(min(wait if wait is not None else 2.0**attempt, 60.0))
        raise AssertionError("unreachable")

    @staticmethod
    def _following(link: Optional[str]) -> Optional[Tuple[str, str]]:
        found = re.match(r"<\\?(before|after)=([^&>]+)", link or "")
        return (found.group(1), found.group(2)) if found else None

    def every(self, get: Callable[..., List[Any]], **parameters: Any) -> Iterator[Any]:
        """All items of a list, page by page: `client.every(client.exchanges, to="kids")`. Where the page after the one
        that was got last begins is in `client.next`: a parameter's name and its value, or nothing at the end."""
        place: Optional[Dict[str, Any]] = parameters
        while place is not None:
            items = get(**place)
            place = {**parameters, self.next[0]: self.next[1]} if self.next else None
            yield from items

    def events(self, last_event_id: Optional[str] = None, follow: bool = True) -> Iterator[tuple[str, EventView]]:
        """What happens at the node: the id of each event, for going on behind it, and the event."""
        headers = {"Last-Event-ID": last_event_id, "Accept": "text/event-stream"}
        with self._open("GET", "/api/v1/events", {"follow": follow}, headers, None) as answer:
            place, data = "", []
            for line in answer:
                name, _, value = line.decode("utf-8").rstrip("\\r\\n").partition(":")
                value = value[1:] if value.startswith(" ") else value
                if name == "id":
                    place = value
                elif name == "data":
                    data.append(value)
                elif not name and not value and data:
                    yield place, json.loads("\\n".join(data))
                    data = []
'''


def identifier(name: str) -> str:
    name = re.sub(r"\W", "_", name)
    return name + "_" if keyword.iskeyword(name) or not name or name[0].isdigit() else name


def words(text: object, indent: str) -> str:
    text = str(text or "").replace("\\", "\\\\").replace('"""', "'''").strip()
    return f'{indent}"""{text}"""\n' if text else ""


class Types:
    """Python types of schemas; objects without a name of their own get one."""

    def __init__(self, document: dict):
        self.document = document
        self.made: dict[str, str] = {}

    def of(self, schema: dict, name: str) -> str:
        if not schema:
            return "Any"
        if "$ref" in schema:
            return identifier(schema["$ref"].rsplit("/", 1)[1])
        if "enum" in schema:
            return "Literal[" + ", ".join(repr(value) for value in schema["enum"]) + "]"
        for several in ("oneOf", "anyOf"):
            if several in schema:
                parts = [self.of(part, f"{name}{place}") for place, part in enumerate(schema[several])]
                return "Union[" + ", ".join(dict.fromkeys(parts)) + "]"
        kind = schema.get("type")
        if isinstance(kind, list):
            parts = [self.of({**schema, "type": one}, name) for one in kind]
            return "Union[" + ", ".join(dict.fromkeys(parts)) + "]"
        if kind == "array":
            return f"List[{self.of(schema.get('items') or {}, name + 'Item')}]"
        if kind == "object" and "properties" in schema:
            return self.object(schema, identifier(name))
        if kind == "object":
            inner = schema.get("additionalProperties")
            return f"Dict[str, {self.of(inner, name + 'Value') if isinstance(inner, dict) else 'Any'}]"
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
        return plain.get(kind, "Any")

    def object(self, schema: dict, name: str) -> str:
        if name not in self.made:
            self.made[name] = ""
            required = set(schema.get("required", []))
            # fields may be words of Python, so the form with a call
            fields = []
            for field, of in schema["properties"].items():
                kind = self.of(of, f"{name}_{field}")
                wrapped = kind if field in required else f"NotRequired[{kind}]"
                fields.append(f"    {field!r}: {wrapped!r},\n")
            self.made[name] = f"{name} = TypedDict({name!r}, {{\n{''.join(fields)}}})\n"
            described = schema.get("description")
            if described:
                comment = "".join(f"# {line}\n" for line in str(described).splitlines())
                self.made[name] = comment + self.made[name]
        return name

    def all(self) -> str:
        for name, schema in self.document["components"]["schemas"].items():
            name = identifier(name)
            if schema.get("type") == "object" and "properties" in schema:
                self.object(schema, name)
            else:
                self.made[name] = f"{name} = {self.of(schema, name)}\n"
        # aliases are looked up when they are made: those come last, those of aliases after these
        objects = [text for text in self.made.values() if "TypedDict(" in text]
        aliases = [text for text in self.made.values() if "TypedDict(" not in text]
        return "\n".join(objects) + "\n" + "\n".join(sorted(aliases, key=lambda text: "Union" in text))


def answer_of(operation: dict, types: Types) -> str:
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            contents = response.get("content", {})
            if "application/json" in contents:
                schema = contents["application/json"].get("schema", {})
                return types.of(schema, identifier(operation["operationId"]) + "_answer")
            return "bytes" if contents else "None"
    return "None"


def method(path: str, verb: str, operation: dict, types: Types) -> str:
    name = identifier(operation["operationId"])
    places, required, optional, query, headers, parts = [], [], [], [], [], path
    for parameter in operation.get("parameters", []):
        variable = identifier(parameter["name"].replace("-", "_").lower())
        kind = types.of(parameter.get("schema") or {}, f"{name}_{variable}")
        where = parameter["in"]
        if where == "header" and parameter["name"] == "If-None-Match":
            continue  # the client's own business
        if where == "path":
            kept = "'/'" if path.startswith("/tile/") else "''"
            quoted = "{urllib.parse.quote(str(" + variable + "), safe=" + kept + ")}"
            parts = parts.replace("{" + parameter["name"] + "}", quoted)
        elif where == "query":
            query.append(f"{parameter['name']!r}: {variable}")
        elif where == "header":
            headers.append(f"{parameter['name']!r}: {variable}")
        if where == "path":
            places.append(f"{variable}: {kind}")
        elif parameter.get("required"):
            required.append(f"{variable}: {kind}")
        else:
            optional.append(f"{variable}: Optional[{kind}] = None")
    body = "None"
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        kind = types.of(content["application/json"].get("schema") or {}, name + "_body")
        places.append(f"body: {kind}")
        body = "json.dumps(body).encode()"
        headers.append("'Content-Type': 'application/json'")
    elif content:
        places += ["body: bytes", f"content_type: Literal[{', '.join(map(repr, content))}]"]
        body = "body"
        headers.append("'Content-Type': content_type")
    has_key = any("Idempotency-Key" in header for header in headers)
    repeats = verb == "get" or has_key
    arguments = ", ".join(["self", *places, *required, *(["*"] if optional else []), *optional])
    text = operation.get("summary", "")
    if operation.get("description"):
        text += "\n\n" + operation["description"]
    indented = text.replace("\n", "\n        ").replace("        \n", "\n")
    answer = answer_of(operation, types)
    call = f'self._call("{verb.upper()}", f"{parts}", query, headers, {body}, {repeats})'
    done = f"        {call}\n" if answer == "None" else f"        return cast({answer!r}, {call})\n"
    return (
        f"\n    def {name}({arguments}) -> {answer}:\n"
        + words(indented, "        ")
        + f"        query: Dict[str, Any] = {{{', '.join(query)}}}\n"
        + f"        headers: Dict[str, Any] = {{{', '.join(headers)}}}\n"
        + done
    )


def generate(document: dict) -> str:
    types = Types(document)
    methods = []
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            answers = [
                kind
                for status, response in operation["responses"].items()
                if status.startswith("2")
                for kind in response.get("content", {})
            ]
            is_page = not answers and not path.startswith("/api/") or "text/html" in answers
            forms = "application/x-www-form-urlencoded" in operation.get("requestBody", {}).get("content", {})
            if is_page or forms or "text/event-stream" in answers or "console" in operation.get("tags", []):
                continue
            methods.append(method(path, verb, operation, types))
    head = HEAD.replace("Literal, Optional", "Literal, NotRequired, Optional")
    return head + "".join(methods) + "\n\n" + types.all()


def main() -> None:
    beside = Path(__file__).resolve().parents[2] / "src" / "http" / "openapi.json"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else beside
    sys.stdout.write(generate(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
