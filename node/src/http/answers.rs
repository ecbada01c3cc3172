//! An example of each answer, for the documentation of the API.
//!
//! Those in JSON are kept in one file, by the names of their types, and pass through them: what the document shows is
//! what the type writes, so a field that was renamed is not shown under its old name. An example that its type does
//! not read is shown nowhere, and fails the tests.

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ArrayItems, Components};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Schema};

use super::figures::StaffFiguresView;
use super::users::{EndedSessions, MadeUserPassword, UserView};
use super::{CardPage, Health, MemberSessionView, Readiness, SecondFactorView, SessionView};
use crate::desk::{self, MemberExport, MemberRecordView, PairView};
use crate::service::{self, *};
use crate::webhooks::{DeliveryView, WebhookView};

/// The examples, as they are kept.
static KEPT: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("answers.json")).unwrap_or_default());

macro_rules! answers {
    ($($name:literal $view:ty;)*) => {
        /// The example of a schema, as its type writes it; nothing where there is none.
        fn of(schema: &str) -> Option<Value> {
            let kept = KEPT.get(schema)?;
            match schema {
                $($name => written::<$view>(kept),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

answers! {
    "AdjustmentView" AdjustmentView;
    "AlertsView" AlertsView;
    "AssessmentView" AssessmentView;
    "BackupView" BackupView;
    "BreachView" BreachView;
    "BudgetsView" BudgetsView;
    "CampaignsView" CampaignsView;
    "CardPage" CardPage;
    "CaseView" CaseView;
    "CertificateView" CertificateView;
    "ClearingPage" ClearingPage;
    "ConstitutionView" ConstitutionView;
    "DatasetView" DatasetView;
    "DeliveryView" DeliveryView;
    "DisclosureView" DisclosureView;
    "DisputeView" DisputeView;
    "DoneView" DoneView;
    "DraftView" DraftView;
    "EndedSessions" EndedSessions;
    "EnrolmentView" EnrolmentView;
    "ExchangeView" ExchangeView;
    "FiguresView" FiguresView;
    "FilledTemplate" FilledTemplate;
    "Health" Health;
    "ImportView" ImportView;
    "IssuedCouponView" IssuedCouponView;
    "LinkCodeView" LinkCodeView;
    "LinkView" LinkView;
    "MadeUserPassword" MadeUserPassword;
    "MemberCodeView" MemberCodeView;
    "MemberExport" MemberExport;
    "MemberRecordView" MemberRecordView;
    "MemberSessionView" MemberSessionView;
    "MemberView" MemberView;
    "NoticesView" NoticesView;
    "OpeningsView" OpeningsView;
    "OperationView" OperationView;
    "OwnAccountView" OwnAccountView;
    "PairView" PairView;
    "PartnerView" PartnerView;
    "PlanView" PlanView;
    "PolicyView" PolicyView;
    "ProgrammeMemberView" ProgrammeMemberView;
    "ProgrammeReportView" ProgrammeReportView;
    "PurchaseView" PurchaseView;
    "QueryView" QueryView;
    "Readiness" Readiness;
    "ReceivedView" ReceivedView;
    "RequestView" desk::RequestView;
    "RotationView" RotationView;
    "RulesCheckView" RulesCheckView;
    "RulesFileView" RulesFileView;
    "RulesView" RulesView;
    "RunningAuditView" RunningAuditView;
    "SealingKeyView" SealingKeyView;
    "SecondFactorView" SecondFactorView;
    "SecondStepView" SecondStepView;
    "SegmentsView" SegmentsView;
    "ServiceRequestView" service::RequestView;
    "SessionView" SessionView;
    "SightingView" SightingView;
    "SimulationView" SimulationView;
    "StaffFiguresView" StaffFiguresView;
    "StatementView" StatementView;
    "Status" Status;
    "TemplateView" TemplateView;
    "UserView" UserView;
    "WebhookView" WebhookView;
}

fn written<T: Serialize + DeserializeOwned>(kept: &Value) -> Option<Value> {
    let view: T = serde_json::from_value(kept.clone()).ok()?;
    serde_json::to_value(view).ok()
}

/// Gives every answer of a document that has a body its example. Those of views stand once, among the components.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            of_operation(path, operation, components);
        }
    }
}

fn of_operation(path: &str, operation: &mut Operation, components: &mut Components) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if !status.starts_with('2') {
            continue;
        }
        for (media, content) in &mut response.content {
            if let RefOr::T(content) = content {
                give(path, media, content, components);
            }
        }
    }
}

fn give(path: &str, media: &str, content: &mut Content, components: &mut Components) {
    if media != "application/json" {
        content.example = file(path, media).map(Value::from);
        return;
    }
    let view = match path {
        // its answer is the file of what another route answers with
        "/my/export" => of("MemberExport").map(|example| ("MemberExport".to_owned(), example)),
        "/api/v1/openapi.json" => {
            content.example = Some(serde_json::json!({ "openapi": "3.1.0", "paths": {} }));
            return;
        }
        "/api/v1/audits/latest/report" => {
            content.example = Some(serde_json::json!({ "findings": [], "findings_not_listed": 0 }));
            return;
        }
        "/api/v1/sealing-keys/destruction" => {
            content.example = Some(serde_json::json!(["11".repeat(32)]));
            return;
        }
        _ => content.schema.as_ref().and_then(of_schema),
    };
    if let Some((name, example)) = view {
        let place = format!("#/components/examples/{name}");
        content.examples.insert("answer".to_owned(), RefOr::Ref(Ref::new(place)));
        let example = ExampleBuilder::new().value(Some(example)).build();
        components.examples.insert(name, RefOr::T(example));
    }
}

/// The example of a view or of a list of one, and its name among the components.
fn of_schema(schema: &RefOr<Schema>) -> Option<(String, Value)> {
    let name = |reference: &Ref| {
        reference.ref_location.strip_prefix("#/components/schemas/").map(str::to_owned)
    };
    match schema {
        RefOr::Ref(reference) => {
            let name = name(reference)?;
            let example = of(&name)?;
            Some((name, example))
        }
        RefOr::T(Schema::Array(list)) => {
            let ArrayItems::RefOrSchema(items) = &list.items else { return None };
            let RefOr::Ref(reference) = items.as_ref() else { return None };
            let name = name(reference)?;
            let example = of(&name)?;
            Some((format!("{name}List"), Value::Array(vec![example])))
        }
        RefOr::T(_) => None,
    }
}

/// How a file begins that is answered with. Of bytes that are no text a document in JSON can show nothing.
fn file(path: &str, media: &str) -> Option<&'static str> {
    const CHECKPOINT: &str = "sample/grocer\n5322\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — sample/grocer Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    Some(match media {
        "text/html" => "<!doctype html>\n<html lang=\"zh-Hans\">\n",
        "text/css" => ":root { color-scheme: light dark; }\n",
        "text/javascript" => "'use strict';\n",
        "image/svg+xml" => "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n",
        "application/toml" => "format = 0\n",
        "application/xml" => "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "text/event-stream" => {
            "id: 19ad9d9a3e7-2f\nevent: exchange.state\ndata: {\"type\":\"exchange.state\",\
             \"timestamp\":\"2026-11-29T09:00:00Z\",\"data\":{\"id\":\"0123456789abcdef0123456789abcdef\",\
             \"state\":\"final\",\"to\":\"kids\"}}\n\n"
        }
        "text/csv" if path.contains("/questions/") => "department,spent_fen\nDAIRY,1283400.0\n",
        "text/csv" if path.ends_with("/figures/csv") => {
            "# For staff alone\r\n# 仅供内部使用\r\npart,name,sales_fen,baskets,members,new_members\r\ntotal,,1283400,412,300,12\r\n"
        }
        "text/csv" if path.starts_with("/figures/") => {
            "# For staff alone\r\n# 仅供内部使用\r\nquarter,sales_fen,active_members\r\n1,1283400,300\r\n"
        }
        "text/csv" => "payer,payee,cny,state\ndrug,grocer,8.50,settled\n",
        "text/plain" if path == "/add-checkpoint" => {
            "— kids/witness jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe/mbIUBkBIfZ+qnA==\n"
        }
        "text/plain" if path.ends_with("receipt") => {
            "c2sp.org/tlog-proof@v1\nindex 5321\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nsample/grocer\n5322\n"
        }
        "text/plain" => CHECKPOINT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{ROUTES, openapi};
    use super::*;

    /// Whether all of one value is in another, which may have more fields.
    fn is_in(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => part
                .iter()
                .all(|(name, value)| whole.get(name).is_some_and(|other| is_in(value, other))),
            (Value::Array(part), Value::Array(whole)) => {
                part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_in(a, b))
            }
            _ => part == whole,
        }
    }

    #[test]
    fn every_example_is_read_by_its_type_and_written_as_it_was() {
        let kept: Map<String, Value> = serde_json::from_str(include_str!("answers.json")).unwrap();
        assert_eq!(kept.len(), NAMES.len());
        for name in NAMES {
            let example = &kept[*name];
            let written = of(name).unwrap_or_else(|| panic!("{name} is not of its type"));
            assert!(is_in(example, &written), "{name}: {example} became {written}");
        }
    }

    #[test]
    fn every_answer_with_a_body_has_an_example_and_every_example_an_answer() {
        let document: Value = serde_json::from_str(openapi::json()).unwrap();
        let mut shown = BTreeSet::new();
        for route in ROUTES {
            let path = route.path.replace("{*", "{").replace('~', "~0").replace('/', "~1");
            let pointer = format!("/paths/{path}/{}/responses", route.method);
            let responses = document.pointer(&pointer).and_then(Value::as_object).unwrap();
            let done = responses.iter().filter(|(status, _)| status.starts_with('2'));
            for (media, content) in
                done.filter_map(|(_, response)| response["content"].as_object()).flatten()
            {
                let what = format!("{} {} in {media}", route.method, route.path);
                match content.pointer("/examples/answer/$ref").and_then(Value::as_str) {
                    Some(place) => {
                        let example = place.strip_prefix('#').and_then(|it| document.pointer(it));
                        assert!(example.is_some_and(|it| it.get("value").is_some()), "{what}");
                        let name = place.rsplit('/').next().unwrap();
                        shown.insert(name.strip_suffix("List").unwrap_or(name));
                    }
                    None if media == "application/octet-stream" => {}
                    None => assert!(content.get("example").is_some(), "{what} has no example"),
                }
            }
        }
        // a file of figures is none of clearing
        for (path, line) in [
            ("/figures/csv", "part,name,sales_fen,baskets,members,new_members\r\n"),
            ("/api/v1/figures/csv", "part,name,sales_fen,baskets,members,new_members\r\n"),
            ("/figures/dashboards/{id}/csv", "quarter,sales_fen,active_members\r\n"),
            ("/partner/clearings/{cut_off_ms}/{format}", "payer,payee,cny,state\n"),
        ] {
            let content = &document["paths"][path]["get"]["responses"]["200"]["content"];
            let example = content["text/csv"]["example"].as_str().unwrap();
            assert!(example.contains(line), "{path}: {example}");
        }
        // each has an answer that shows it
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), NAMES);
    }
}
