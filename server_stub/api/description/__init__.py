"""The OpenAPI description of the HTTP side: tables of operations, and the document made from them and the models."""
