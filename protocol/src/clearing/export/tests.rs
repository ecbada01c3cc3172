use super::*;
use crate::clearing::tests::{brand, checked, constitution, cut_off};
use crate::clearing::{Absent, CheckedClosing, Statement};
use crate::log::settlement::{Payment, PaymentReference};

/// Five brands: a owes b 3.5 fen and c owes d 2 yuan; the half fen cannot be paid.
fn settlement() -> Settlement {
    let totals = [[3_500_000, 0, 0, 0], [0; 4], [0, 0, 200_000_000, 0], [0; 4], [0; 4]];
    let closings: Vec<CheckedClosing> =
        totals.iter().enumerate().map(|(log, sent)| checked(log, sent)).collect();
    let statement =
        Statement::derive(&constitution(), cut_off(), &closings, &Absent::default()).unwrap();
    let mut settlement = Settlement::new(statement, &Absent::default());
    let statement = settlement.hash();
    let payment = |payer, payee, value| Payment {
        cut_off: cut_off(),
        statement,
        payer: brand(payer),
        payee: brand(payee),
        value: Value::new(value).unwrap(),
        reference: PaymentReference::new("HVPS'1,2").unwrap(),
    };
    settlement.settle(&payment(0, 1, 3_000_000)).unwrap();
    settlement.confirm(&payment(2, 3, 200_000_000)).unwrap();
    settlement
}

/// The samples that `protocol/spec/check_exports.py` shows to others' parsers.
#[test]
fn exports_are_the_published_samples() {
    let settlement = settlement();
    for (name, bytes) in [
        ("statement.csv", csv(&settlement)),
        ("pacs.029.001.02.xml", pacs_029(&settlement)),
        ("camt.053.001.12.xml", camt_053(&settlement, brand(2))),
        ("camt.053.001.12-pending.xml", camt_053(&settlement, brand(1))),
        ("camt.053.001.12-nothing.xml", camt_053(&settlement, brand(4))),
    ] {
        let path = format!("{}/spec/samples/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("COALITION_WRITE_VECTORS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let published = std::fs::read(&path).unwrap_or_default();
        assert!(bytes == published, "{name} is not the published sample");
    }
}

#[test]
fn movements_balance_and_say_what_is_carried() {
    let settlement = settlement();
    let text = String::from_utf8(pacs_029(&settlement)).unwrap();
    let amounts = |side: &str| {
        let records = text.split("<MvmntRcrd>").skip(1).filter(|it| it.contains(side));
        let yuan = records.map(|it| it.split("CNY\">").nth(1).unwrap().split('<').next().unwrap());
        yuan.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(amounts("DBIT"), ["0.03", "2.00"]);
    assert_eq!(amounts("CRDT"), ["0.03", "2.00"]);
    assert!(text.contains("<CtrlSum>4.06</CtrlSum>"));
    let table = String::from_utf8(csv(&settlement)).unwrap();
    assert!(
        table.contains("carried,a,,-500000,,,\r\n") && table.contains("carried,b,,500000,,,\r\n")
    );
    assert!(table.contains("payment,c,d,200000000,2.00,confirmed,\"HVPS'1,2\"\r\n"));
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399_999, "2000-02-28T23:59:59Z"),
        (951_868_799_000, "2000-02-29T23:59:59Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(date_time(Timestamp::from_unix_ms(ms)), text);
    }
}
