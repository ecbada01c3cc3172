//! A body for each route that takes JSON, for its documentation; the tests send them.

/// The example of a route that is posted to; none where it takes no body.
pub(super) fn body(path: &str) -> Option<&'static str> {
    match path {
        "/api/v1/imports" => Some(r#"{"source":"sample"}"#),
        "/api/v1/imports/batches" => Some("{}"),
        "/api/v1/backups" => Some(r#"{"folder":"/var/backups/kids"}"#),
        "/api/v1/members/{card}/link-codes" => Some(r#"{"brand":"kids"}"#),
        "/api/v1/members/{card}/links" => Some(r#"{"brand":"kids","code":"1"}"#),
        "/api/v1/members/{card}/consents" => {
            Some(r#"{"purpose":"exchange","granted":true,"notice_version":1}"#)
        }
        "/api/v1/members/look-up" => Some(r#"{"kind":"phone","value":"13812345678"}"#),
        path if path.ends_with("/merges") || path.ends_with("/partings") => {
            Some(r#"{"absorbed":"2"}"#)
        }
        path if path.ends_with("/hold") => Some(r#"{"reason":null}"#),
        path if path.ends_with("/requests") => Some(r#"{"kind":"access"}"#),
        path if path.ends_with("/answer") => Some(r#"{"outcome":"answered"}"#),
        "/api/v1/sightings" => Some(r#"{"identifiers":[{"kind":"phone","value":"13812345678"}]}"#),
        "/api/v1/pairs/judgements" => Some(r#"{"one":"1","other":"2","same":true}"#),
        "/api/v1/assessments" => {
            Some(r#"{"occasion":"other","purpose":"a","risks":"b","measures":"c"}"#)
        }
        "/api/v1/breaches" => Some(r#"{"what":"a","measures":"b","members":1}"#),
        "/api/v1/second-factor/confirmation" => Some(r#"{"code":"000000"}"#),
        "/api/v1/member-sessions" => Some(r#"{"card":"1"}"#),
        "/api/v1/member-codes" => Some(r#"{"card":"1"}"#),
        "/api/v1/me/actions" => Some(r#"{"action":"claim_coupon","kind":"five_off"}"#),
        "/api/v1/programme/segments/count" => {
            Some(r#"{"zh":"沉睡会员","en":"Quiet members","quiet_days":60}"#)
        }
        "/api/v1/me/consents" => {
            Some(r#"{"purpose":"exchange","granted":true,"notice_version":1}"#)
        }
        "/api/v1/me/erasure" => Some(r#"{"confirm":"no"}"#),
        "/api/v1/disclosures" => Some(r#"{"auditor":"tax","from":1,"to":2}"#),
        "/api/v1/exchanges" => Some(r#"{"card":"1","to":"kids","points":5}"#),
        "/api/v1/exchanges/received/returns" => {
            Some(r#"{"card":"1","from":"kids","leaf":7,"points":5}"#)
        }
        path if path.ends_with("/payments") || path.ends_with("/confirmations") => {
            Some(r#"{"brand":"kids","reference":"HVPS-1"}"#)
        }
        "/api/v1/programme/rules" => Some(r#"{"rules":"version = 1"}"#),
        path if path.contains("/programme/rules/") => Some(r#"{"rules":"version = 1"}"#),
        path if path.ends_with("/adjustments") => {
            Some(r#"{"points":-5,"reason":"a wrong basket"}"#)
        }
        path if path.ends_with("/decision") => Some(r#"{"agrees":true}"#),
        path if path.ends_with("/coupons") => Some(r#"{"kind":"five_off"}"#),
        "/api/v1/purchases" => Some(
            r#"{"card":"FS0SE5S4Z7EN","receipt":"1","purchased_at":"2026-11-28T10:00:00+08:00","lines":[{"department":"DAIRY","pieces":1,"amount_fen":500}]}"#,
        ),
        "/api/v1/programme/actions" => Some(r#"{"action":"withdraw_rules"}"#),
        "/api/v1/programme/members/{card}/actions" => {
            Some(r#"{"action":"pay","points":500,"basket_fen":9000}"#)
        }
        "/api/v1/programme/till" => Some(r#"{"action":"hand_over","hold":"1"}"#),
        "/api/v1/programme/reviews" => Some(r#"{"action":"review","case":1,"stop":false}"#),
        "/api/v1/webhooks" => Some(r#"{"url":"https://hooks.example/","events":["query.step"]}"#),
        "/api/v1/queries/plan" => Some(r#"{"sql":"SELECT 1"}"#),
        "/api/v1/queries" => Some(r#"{"sql":"SELECT 1","plan":"00"}"#),
        "/api/v1/sessions" => Some(r#"{"user":"ann","password":"correct horse battery"}"#),
        path if path.ends_with("/proposal") => Some(r#"{"void_all":false}"#),
        path if path.ends_with("/notices") => Some(r#"{"authority":true}"#),
        path if path.ends_with("/question") => Some(r#"{"scope":"local","parameters":{}}"#),
        path if path.ends_with("/figures") => Some(r#"{"parameters":{}}"#),
        path if path.ends_with("/me/corrections") || path.ends_with("{card}/corrections") => {
            Some(r#"{"attributes":{"name":"Li Lei"}}"#)
        }
        _ => None,
    }
}
