//! Spans as OTLP has them in JSON (`http/json`): names in hexadecimal digits, times as text of nanoseconds, numbers for words.

use serde_json::{Value, json};

use super::span::Span;

/// The status of a span that failed.
const FAILED: u8 = 2;

/// The body of a request.
pub(super) fn encode(resource: &[(String, String)], spans: &[Span]) -> Value {
    let resource: Vec<_> = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]})
}

fn span(span: &Span) -> Value {
    let attributes: Vec<_> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut encoded = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.start.wall.as_nanosecond().to_string(),
        "endTimeUnixNano": span.ended().as_nanosecond().to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        encoded["parentSpanId"] = parent.to_string().into();
    }
    if let Some(failure) = &span.failure {
        encoded["status"] = json!({"code": FAILED, "message": failure});
    }
    encoded
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// How many spans of a request a receiver has rejected, by its answer.
pub(super) fn rejected(answer: &[u8]) -> Option<u64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let rejected = answer.get("partialSuccess")?.get("rejectedSpans")?;
    // OTLP has these numbers as text, and allows plain ones.
    let number = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok());
    number.filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

    use super::super::span::{Kind, TraceId};
    use super::*;
    use crate::core::testing::at;
    use crate::core::token::Fingerprint;

    fn text(value: &str) -> AnyValue {
        AnyValue { value: Some(StringValue(value.to_owned())) }
    }

    #[test]
    fn spans_arrive_as_the_published_types() {
        let trace = TraceId::of(&Fingerprint::recorded("0123456789abcdef0123456789abcdef")).unwrap();
        let root = Span {
            trace,
            id: trace.root(),
            parent: None,
            name: "renewal",
            kind: Kind::Internal,
            start: at(1),
            end: at(3),
            attributes: vec![("idissuer.trigger", "due".to_owned())],
            failure: None,
        };
        let child = Span {
            parent: Some(trace.root()),
            kind: Kind::Client,
            failure: Some("refused".to_owned()),
            ..root.clone()
        };
        let resource = [("service.name".to_owned(), "idissuer".to_owned())];
        let body = encode(&resource, &[root, child]).to_string();
        let request: ExportTraceServiceRequest = serde_json::from_str(&body).unwrap();
        let [of_resource] = &request.resource_spans[..] else { panic!("{body}") };
        let attributes = &of_resource.resource.as_ref().unwrap().attributes;
        let key = "service.name".to_owned();
        assert_eq!(*attributes, [KeyValue { key, value: Some(text("idissuer")), ..KeyValue::default() }]);
        let scope = of_resource.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("idissuer", env!("CARGO_PKG_VERSION")));
        let [root, child] = &of_resource.scope_spans[0].spans[..] else { panic!("{body}") };
        let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!((&root.trace_id[..], &root.span_id[..]), (&[bytes, bytes].concat()[..], &bytes[..]));
        assert_eq!((&root.parent_span_id[..], &child.parent_span_id[..]), (&[][..], &bytes[..]));
        assert_eq!((root.kind(), child.kind()), (SpanKind::Internal, SpanKind::Client));
        let nanoseconds = |seconds| u64::try_from(at(seconds).wall.as_nanosecond()).unwrap();
        assert_eq!((root.start_time_unix_nano, root.end_time_unix_nano), (nanoseconds(1), nanoseconds(3)));
        assert_eq!(
            (root.attributes[0].key.as_str(), &root.attributes[0].value),
            ("idissuer.trigger", &Some(text("due")))
        );
        assert_eq!(root.status, None);
        let status = child.status.as_ref().unwrap();
        assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "refused"));
    }

    #[test]
    fn a_receiver_says_how_many_spans_it_has_rejected() {
        let cases = [
            (r#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#, Some(3)),
            (r#"{"partialSuccess": {"rejectedSpans": 3}}"#, Some(3)),
            (r#"{"partialSuccess": {"rejectedSpans": "0"}}"#, None),
            (r#"{"partialSuccess": {}}"#, None),
            ("{}", None),
            ("<html>", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(rejected(answer.as_bytes()), expected, "{answer}");
        }
    }
}
