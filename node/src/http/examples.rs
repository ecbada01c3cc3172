//! A body for each route that takes one, for its documentation; the tests send those in JSON and the forms.

use serde_json::Value;

/// The example of a body of a media type; none where the route takes no such body.
pub(super) fn of(path: &str, media: &str) -> Option<Value> {
    match media {
        "application/json" => serde_json::from_str(body(path)?).ok(),
        "application/x-www-form-urlencoded" => form(path).map(fields),
        _ => file(path, media).map(Value::from).or_else(|| upload(path)),
    }
}

/// What a page's form sends when its fields are filled in.
pub(super) fn form(path: &str) -> Option<&'static str> {
    Some(match path {
        "/sign-in" => "user=ann&password=correct+horse+battery",
        "/questions" => "action=plan&sql=SELECT+1",
        "/administration" => "action=turn_sealing_key",
        "/administration/users" => "user=chen&store=on&password=x",
        "/administration/users/{user}" => "action=end_sessions",
        "/administration/drafts/{hash}" => "action=remove",
        "/officer/own-audit" => "",
        "/second-factor" => "action=begin",
        "/password" => {
            "password=correct+horse+battery&new_password=an+own+password&again=an+own+password"
        }
        "/records" => "action=told&number=1&who=authority&why=",
        "/staff" => "action=look&kind=card&value=1",
        "/programme/rules" => "action=withdraw",
        "/programme/segments" => "action=drop&name=a",
        "/programme/campaigns" => "action=end&name=a",
        "/programme/reviews" => "action=agree&adjustment=1",
        "/my" => "action=request&kind=access&words=",
        "/my/sign-in" => "code=1",
        _ => return None,
    })
}

/// The fields of a form, as the document shows them.
fn fields(form: &str) -> Value {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), Value::from(value.replace('+', " ")))).collect()
}

/// The files that a page takes, by the fields of its form.
fn upload(path: &str) -> Option<Value> {
    match path {
        "/administration/drafts" => Some(serde_json::json!({ "constitution": "format = 0\n" })),
        "/administration/drafts/{hash}/signatures" => {
            Some(serde_json::json!({ "signatures": "format = 0\n" }))
        }
        "/officer/audit" => Some(serde_json::json!({ "report": "{}" })),
        _ => None,
    }
}

/// What is neither JSON nor a form.
fn file(path: &str, media: &str) -> Option<&'static str> {
    match (path, media) {
        ("/api/v1/imports/batches", "application/x-ndjson") => Some(
            "{\"card\":\"FS0SE5S4Z7EN\",\"receipt\":\"1\",\"day\":\"2026-11-28\",\"department\":\"DAIRY\",\"amount\":\"5.00\"}\n",
        ),
        ("/api/v1/imports/batches", "text/csv") => {
            Some("card,receipt,day,department,amount\nFS0SE5S4Z7EN,1,2026-11-28,DAIRY,5.00\n")
        }
        ("/add-checkpoint", _) => Some(
            "old 0\n\nlog.example/1\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
             — log.example/1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n",
        ),
        _ => None,
    }
}

/// The example of a route that is posted to; none where it takes no body.
pub(super) fn body(path: &str) -> Option<&'static str> {
    match path {
        "/api/v1/imports" => Some(r#"{"source":"sample"}"#),
        "/api/v1/imports/batches" => Some("{}"),
        "/api/v1/backups" => Some(r#"{"folder":"/var/backups/kids"}"#),
        "/api/v1/members" => Some(
            r#"{"card":"FS09","identifiers":[{"kind":"phone","value":"13912345678"}],"consents":[{"purpose":"programme","granted":true,"notice_version":1}]}"#,
        ),
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
        "/api/v1/password" => {
            Some(r#"{"password":"correct horse battery","new_password":"an own password"}"#)
        }
        "/api/v1/second-factor/confirmation" => Some(r#"{"code":"000000"}"#),
        "/api/v1/member-sessions" => Some(r#"{"card":"1"}"#),
        "/api/v1/member-codes" => Some(r#"{"card":"1"}"#),
        "/api/v1/member-second-steps" => Some(r#"{"card":"1"}"#),
        "/api/v1/programme/members/{card}/app-actions" => {
            Some(r#"{"action":"hold_reward","reward":"cup","code":"7QZ4-M3KD-0X9V"}"#)
        }
        "/api/v1/me/actions" => Some(r#"{"action":"claim_coupon","kind":"five_off"}"#),
        "/api/v1/programme/segments/count" => {
            Some(r#"{"zh":"沉睡会员","en":"Quiet members","quiet_days":60}"#)
        }
        "/api/v1/me/consents" => {
            Some(r#"{"purpose":"exchange","granted":true,"notice_version":1}"#)
        }
        "/api/v1/me/erasure" => Some(r#"{"confirm":"no"}"#),
        "/api/v1/constitutions/drafts" => Some(r#"{"constitution":"format = 0\n"}"#),
        path if path.starts_with("/api/v1/constitutions/drafts/") => {
            match path.rsplit('/').next() {
                Some("signatures") => Some(r#"{"signatures":"format = 0\n"}"#),
                Some("signature") => {
                    Some(r#"{"password":"correct horse battery","code":"123456"}"#)
                }
                Some("decision") => Some(r#"{"adopts":true,"password":"correct horse battery"}"#),
                _ => None,
            }
        }
        "/api/v1/users" => Some(
            r#"{"user":"chen","roles":["store"],"password":"correct horse battery","code":"123456"}"#,
        ),
        "/api/v1/users/{user}/roles" => {
            Some(r#"{"roles":["store","partner"],"password":"correct horse battery"}"#)
        }
        path if path.starts_with("/api/v1/users/") => {
            Some(r#"{"password":"correct horse battery","code":"123456"}"#)
        }
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
        "/api/v1/programme/opening-balances" => Some(
            r#"{"members":[{"card":"FS0SE5S4Z7EN","lots":[{"points":500,"expires_on":"2027-03-31"},{"points":20}],"tier_points":1200}]}"#,
        ),
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
