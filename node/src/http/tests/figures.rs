//! Exact figures over HTTP: who sees which part, and what is refused.

use super::*;

#[tokio::test]
async fn figures_have_the_programmes_part_for_who_may_see_it_and_refusals_say_what_would_be_right()
{
    let fixture = Fixture::start();
    let store = fixture.client_as(&[Role::Store]);
    let path = "/api/v1/figures?by=month";
    let seen: serde_json::Value = store.get(path).await.unwrap();
    assert_eq!(seen["period"]["by"], "month");
    assert!(seen.get("report").is_none() && seen.get("campaigns").is_none(), "{seen}");
    let partner: serde_json::Value = fixture.client_as(&[Role::Partner]).get(path).await.unwrap();
    assert!(partner["report"].is_object() && partner["campaigns"].is_object(), "{partner}");

    for (query, status, refused) in [
        ("by=year", 400, "step_unknown"),
        ("from=2017-02-30", 400, "day_malformed"),
        ("from=2017-03-01&to=2017-02-01", 400, "period_invalid"),
        ("store=S01", 400, "parameter_invalid"),
    ] {
        for route in ["/api/v1/figures", "/api/v1/figures/csv"] {
            let path = format!("{route}?{query}");
            let answer = store.send(Method::GET, &path, &[], None).await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), code(&answer).as_str()),
                (status, refused),
                "{path}"
            );
        }
    }
    let file = store.send(Method::GET, "/api/v1/figures/csv", &[], None).await.unwrap();
    assert!(file.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert_eq!(file.headers["cache-control"], "no-store");
}
