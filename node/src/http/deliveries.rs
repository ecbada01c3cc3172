//! What the document says of deliveries to webhooks: the requests that receivers get, not ones that they make.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, Paths, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ContentBuilder, Object, PathItem, Ref, Required, ResponseBuilder, ResponsesBuilder, Type,
};

/// Headers of a delivery, and what they are.
const HEADERS: [(&str, &str); 3] = [
    ("webhook-id", "The same for each attempt: what has come already is passed over"),
    ("webhook-timestamp", "When it was sent, Unix seconds"),
    (
        "webhook-signature",
        "For each good secret `v1,` and base64 of HMAC-SHA256 over ID.TIMESTAMP.BODY, a space between",
    ),
];

/// The deliveries.
pub(super) fn deliveries() -> Paths {
    let example = serde_json::json!({
        "type": "exchange.state",
        "timestamp": "2026-11-29T09:00:00Z",
        "data": {"id": "0123456789abcdef0123456789abcdef", "state": "final", "to": "kids"},
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("EventView")))
        .example(Some(example))
        .build();
    let body = RequestBodyBuilder::new()
        .content("application/json", content)
        .required(Some(Required::True))
        .build();
    let answer = |words: &str| ResponseBuilder::new().description(words).build();
    let responses = ResponsesBuilder::new()
        .response("2XX", answer("It has come; within 15 seconds"))
        .response("410", answer("It is wanted no more: the webhook is disabled"))
        .response("default", answer("It is sent again, later and later, for three days"))
        .build();
    let mut operation = OperationBuilder::new()
        .tag("events")
        .summary(Some("Something has happened, sent to a receiver that was registered for it"))
        .operation_id(Some("delivery"))
        .request_body(Some(body))
        .responses(responses);
    for (name, words) in HEADERS {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(words))
            .schema(Some(Object::with_type(Type::String)));
        operation = operation.parameter(parameter.build());
    }
    PathsBuilder::new().path("event", PathItem::new(HttpMethod::Post, operation.build())).build()
}
