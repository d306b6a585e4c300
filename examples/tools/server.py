#!/usr/bin/env python3
"""A shop that listens on this machine only: what it sells and at what rates, with an OpenAPI document. `server.py [PORT]`, 8765 without one."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ITEMS = {"kettle": {"name": "Copper Kettle", "price_eur": 48.5, "days": 3}, "lamp": {"name": "Reading Lamp", "price_eur": 31, "days": 10}}
RATES = {"EUR": 1, "USD": 1.16, "NOK": 11.7}


def document(host):
    number, text = {"type": "number"}, {"type": "string"}
    item = {"type": "object", "properties": {"name": text, "price_eur": number, "days": number}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shop", "version": "1.0.0"},
        "servers": [{"url": f"http://{host}"}],
        "paths": {
            "/items/{id}": {
                "get": {
                    "operationId": "getItem",
                    "summary": "What an item costs, and in how many days it is there.",
                    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(ITEMS)}}],
                    "responses": {"200": {"description": "The item", "content": {"application/json": {"schema": item}}}},
                }
            }
        },
    }


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = self.path.strip("/").split("/")
        match parts:
            case ["openapi.json"]:
                self.answer(200, document(self.headers["host"]))
            case ["items", item] if item in ITEMS:
                self.answer(200, ITEMS[item])
            case ["rates", currency] if currency in RATES:
                self.answer(200, {"currency": currency, "rate": RATES[currency]})
            case _:
                self.answer(404, {"error": f"there is nothing at {self.path}"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    server = ThreadingHTTPServer(("127.0.0.1", port), Shop)
    print(f"the shop is open at http://127.0.0.1:{port}", flush=True)
    server.serve_forever()
