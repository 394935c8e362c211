"""Sends lines with OpenTelemetry's Python SDK. Arguments: the URL of /v1/logs, and a token that may write lines."""

import logging
import sys

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

endpoint, token = sys.argv[1:]
for compression in (Compression.NoCompression, Compression.Gzip):
    exporter = OTLPLogExporter(
        endpoint=endpoint, headers={"authorization": f"Bearer {token}"}, compression=compression,
    )
    provider = LoggerProvider(resource=Resource.create({"service.name": f"python-{compression.value}"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    shop = logging.getLogger(f"shop.{compression.value}")
    shop.setLevel(logging.DEBUG)
    shop.addHandler(LoggingHandler(level=logging.DEBUG, logger_provider=provider))
    for number in range(600):
        shop.info("order %d taken", number, extra={"shop.id": "s7", "amount": number})
    shop.error("the till is stuck")
    assert provider.force_flush()
    provider.shutdown()
