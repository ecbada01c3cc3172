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
        Statement::derive(&constitution().into(), cut_off(), &closings, &Absent::default())
            .unwrap();
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
        ("pacs.029.001.02.xml", pacs_029(&settlement).unwrap()),
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

/// Exports of any settlement, as a parser reads them that was generated from ISO 20022's schemas; where it is
/// not installed this says so.
#[test]
fn exports_of_any_settlement_read_as_iso_20022() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/spec/check_exports.py");
    let python = || std::process::Command::new("python3");
    let has = python().args(["-c", "import pyiso20022, xsdata, lxml"]).output();
    if !has.is_ok_and(|has| has.status.success()) {
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        eprintln!("skipped: pip install pyiso20022 lxml xsdata");
        return;
    }
    let folder = std::env::temp_dir().join(format!("coalition-exports-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut files = Vec::new();
    let mut number = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number % below
    };
    for case in 0..40 {
        // from nothing to amounts near the largest
        let most = 10_u64.pow(u32::try_from(case % 17).unwrap());
        let totals: Vec<[u64; 4]> =
            (0..5).map(|_| [0; 4].map(|_| if next(3) == 0 { 0 } else { next(most) })).collect();
        let closings: Vec<CheckedClosing> =
            totals.iter().enumerate().map(|(log, sent)| checked(log, sent)).collect();
        let statement =
            Statement::derive(&constitution().into(), cut_off(), &closings, &Absent::default())
                .unwrap();
        let asked = statement.instructions.clone();
        let mut settlement = Settlement::new(statement, &Absent::default());
        let characters = b"AZaz09/-?:().,'+ <&>";
        for it in asked {
            let length = 1 + next(35);
            let text = (0..length).map(|_| characters[usize::try_from(next(20)).unwrap()] as char);
            let text: String = text.collect();
            // the last four are for others' eyes: no reference has them
            let reference = PaymentReference::new(&text);
            let reference = reference.unwrap_or_else(|_| PaymentReference::new("E2E-1").unwrap());
            let (payer, payee, value) = (it.payer, it.payee, it.value);
            let (cut_off, statement) = (cut_off(), settlement.hash());
            let payment = Payment { cut_off, statement, payer, payee, value, reference };
            if next(3) > 0 {
                settlement.settle(&payment).unwrap();
            }
            if next(2) > 0 {
                settlement.confirm(&payment).unwrap();
            }
        }
        let mut write = |name: String, bytes: Vec<u8>| {
            let path = folder.join(format!("{case}-{name}.xml"));
            std::fs::write(&path, bytes).unwrap();
            files.push(path);
        };
        // where nobody pays there is nothing to request
        let pays = !settlement.statement().instructions.is_empty();
        let request = pacs_029(&settlement);
        assert_eq!(request.is_some(), pays);
        if let Some(bytes) = request {
            write("pacs".to_owned(), bytes);
        }
        for one in 0..5 {
            write(format!("camt-{one}"), camt_053(&settlement, brand(one)));
        }
    }
    let read = python().arg(script).args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&read.stdout);
    assert!(read.status.success(), "{said}{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(said.lines().count(), files.len());
    // and it is a parser that refuses what is none
    let request = files.iter().find(|path| path.to_string_lossy().contains("-pacs")).unwrap();
    let broken = std::fs::read_to_string(request).unwrap().replacen("CtrlSum>", "Sum>", 2);
    std::fs::write(request, broken).unwrap();
    assert!(!python().arg(script).arg(request).output().unwrap().status.success());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn movements_balance_and_say_what_is_carried() {
    let settlement = settlement();
    let text = String::from_utf8(pacs_029(&settlement).unwrap()).unwrap();
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
