"""The bus on Apache Kafka. Its drivers are imported by `open_bus` only when a URL asks for them."""
