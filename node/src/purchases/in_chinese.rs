//! What an import says of rows, files and its own end, in Chinese for pages; in English each kind says it itself.

use super::clean::{Adjustment, DropReason, Issue};
use super::columns::{AMOUNT, CellProblem, DATE, FileProblem, TEXT, WHOLE};
use super::facts::FactsError;
use super::formats::{Counted, RowProblem};
use super::import::ImportError;

impl DropReason {
    /// Why, in Chinese.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Broken => "该行无法拆分",
            Self::Malformed => "有单元格无法读取",
            Self::ImpossibleDate => "日期不可能",
            Self::NothingSold => "数量与金额均为零",
            Self::Negative => "数量或金额为负，而没有标明是退货",
            Self::UnderCost => "金额低于成本",
            Self::UnknownMember => "没有会员持有此卡",
            Self::NoMember => "没有会员，而映射没有散客",
            Self::Duplicate => "该行此前已导入",
            Self::Contradiction => "该行在文件中出现两次，内容不同",
            Self::SameOrderTwice => "同一会员的同一订单在片刻之间重复出现",
            Self::OthersBasket => "该小票属于他人",
            Self::BasketTooLarge => "小票的行数过多或总额过大",
            Self::Conflict => "卡号或匹配键属于另一会员",
            Self::Erased => "此人已被删除，名单不能使其再次成为会员",
        }
    }

    /// What to do about it, in Chinese.
    #[must_use]
    pub const fn remedy_zh(self) -> &'static str {
        match self {
            Self::Broken => "更正该行后导入更正的文件",
            Self::Malformed => "更正该单元格后导入更正的文件",
            Self::ImpossibleDate => "更正日期，或更正映射所允许的日期",
            Self::NothingSold => "无需处理：这样的行没有销售",
            Self::Negative => "在映射的 [purchases.refunds] 中说明如何标明退货",
            Self::UnderCost => "核对价格；要保留这样的行，在映射中写 keep_under_cost = true",
            Self::UnknownMember => "先导入该会员，再导入此文件",
            Self::NoMember => "给出会员，或在映射的 [purchases.guests] 中说明如何标明散客",
            Self::Duplicate => "无需处理：该行只计一次",
            Self::Contradiction => "小票的每一行须有自己的行号",
            Self::SameOrderTwice => {
                "重复发送的无需处理；否则减小映射中的 same_order_within_seconds"
            }
            Self::OthersBasket => "每张小票须有自己的编号",
            Self::BasketTooLarge => "拆分小票，或核对其编号",
            Self::Conflict => "查明此人持有哪张卡",
            Self::Erased => "从发送的系统中移除此人；要再次加入，在柜台或应用中办理",
        }
    }
}

impl Adjustment {
    /// What, in Chinese.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Measured => "体积或重量按一件计",
            Self::NoDepartment => "没有写明部门：记为 UNKNOWN",
            Self::UnderCost => "金额低于成本；按映射保留",
            Self::Corrected => "该行取代了此前内容不同的一行",
            Self::Refund => "退货或取消",
            Self::ConsentNotUnderstood => "同意的写法未在映射中说明：视为没有同意",
            Self::RefundAlone => "退货所指的小票中没有该会员的消费：单独入账",
            Self::GuardianMissing => {
                "未满十四周岁者的同意没有监护人作出（个人信息保护法第三十一条）：未计入；在映射的 \
                 [members.consent.guardian] 中说明如何标明监护人的同意"
            }
            Self::IdentifierNotRead => "有标识不符合其种类，例如手机号少一位：该行保留，不含此标识",
            Self::StaysWithdrawn => "名单上有已撤回者的同意：仍为撤回，直到会员本人再次同意",
            Self::ConsentNotTaken => {
                "有决定未录入：未满十四周岁者的同意须由监护人作出，每名会员最多一千次决定"
            }
        }
    }
}

impl CellProblem {
    /// What is wrong, in Chinese.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Missing => "为空",
            Self::NotText => "不是文本",
            Self::NotWhole => "不是范围内的整数",
            Self::NotADate => "不是 1970 至 2199 年的日期，写作 2017-03-31 或 2017-03-31 18:05:00",
            Self::NotAnAmount => "按映射所写的单位不是精确到分的金额，或超过一千万元",
            Self::ImpossibleDate => "早于或晚于映射所允许的日期，或晚于明天",
            Self::NotStated => "不是映射所说明的值",
            Self::NotAnIdentifier => "过长，或含有不应有的字符",
            Self::NotABirthDate => "不是出生日期：写作 2012-06-01，且不在将来",
        }
    }
}

impl RowProblem {
    /// What is wrong, in Chinese.
    #[must_use]
    pub fn zh(self) -> String {
        match self {
            Self::Cells { found, expected } => {
                format!("有 {found} 个单元格，而首行有 {expected} 个名称")
            }
            Self::TooLong => "超过 1 MiB，或有未闭合的引号".to_owned(),
            Self::NotAnObject => "不是 JSON 对象".to_owned(),
            Self::NotUtf8 => {
                "不是 UTF-8：文件为 GBK 时，在映射中写 encoding = \"gb18030\"".to_owned()
            }
            Self::NotGb18030 => "含有不属于 GB18030（GBK）的字节，而映射按此编码读取".to_owned(),
        }
    }
}

impl Counted {
    fn zh(self, place: u64) -> String {
        match self {
            Self::Rows => format!("第 {place} 条"),
            Self::Lines => format!("第 {place} 行"),
        }
    }
}

impl Issue {
    /// Where it is, what is wrong and what to do, in Chinese.
    #[must_use]
    pub fn zh(&self) -> String {
        let place = self.counted.zh(self.place);
        let field = self.field.map(|field| format!("，{field}")).unwrap_or_default();
        let problem = match (self.cell, self.row) {
            (Some(problem), _) => problem.zh().to_owned(),
            (None, Some(problem)) => problem.zh(),
            (None, None) => self.reason.zh().to_owned(),
        };
        format!("{place}{field}：{problem}；{}", self.reason.remedy_zh())
    }
}

/// What a column should hold.
fn accepted_zh(accepted: &str) -> &str {
    match accepted {
        TEXT => "文本、整数或真假值",
        WHOLE => "整数",
        DATE => "日期或时间",
        AMOUNT => "小数",
        other => other,
    }
}

impl FileProblem {
    /// What is wrong, in Chinese.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Unreadable { file, .. } => format!("{file}：无法读取"),
            Self::UnknownFormat { file } => {
                format!("{file}：文件名须以 .parquet、.csv、.csv.gz、.jsonl 或 .jsonl.gz 结尾")
            }
            Self::NoHeader { file } => format!("{file}：首行不是列名，或编码与映射所写不符"),
            Self::TwiceNamed { file, column } => format!("{file}：列名 {column} 出现两次"),
            Self::NoFile { folder, names } => {
                format!("{folder}：没有映射所写的任何文件：{names}")
            }
            Self::NotMapped { mapping, part } => {
                format!("映射 {mapping} 没有 [{part}]：请按 docs/import.md 补上")
            }
            Self::NotParquet { file, .. } => {
                format!("{file}：不是完整的 Parquet 文件（Snappy 或不压缩）")
            }
            Self::Damaged { file, after_row, .. } => {
                format!("{file}：第 {after_row} 条之后已损坏；请重新生成文件")
            }
            Self::MissingColumn { file, column, accepted } => {
                format!("{file}：没有 {column} 列（{}）", accepted_zh(accepted))
            }
            Self::WrongType { file, column, found, accepted } => {
                format!("{file}：{column} 列为 {found}，须为{}", accepted_zh(accepted))
            }
        }
    }
}

impl FactsError {
    /// What is wrong, in Chinese.
    #[must_use]
    pub const fn zh(&self) -> &'static str {
        match self {
            Self::Disk(_) => "消费明细文件无法写入",
            Self::Encoding(_) => "消费明细文件无法编码",
            Self::Engine(_) => "消费明细无法打开供查询",
            Self::OtherPurpose => "消费明细只用于会员所同意的用途",
            Self::OtherTable => "这里没有此名称的表",
            Self::NoMembers => "快照只含消费，不含会员资料",
            Self::NoCampaigns => "快照不含活动的参与者",
        }
    }
}

impl ImportError {
    /// Why it stopped, in Chinese; what lies beneath is in its own words.
    #[must_use]
    pub fn zh(&self) -> String {
        let said = match self {
            Self::File(problem) => problem.zh(),
            Self::Vault(_) => "导入时会员库出错".to_owned(),
            Self::Store(_) => "导入时存储出错".to_owned(),
            Self::Damaged { what } => {
                format!("已存储的记录（{what}）无法读取：存储已损坏，或来自其他版本")
            }
            Self::Sealing => "记录无法加密：系统的随机数生成器出错".to_owned(),
            Self::Facts(error) => error.zh().to_owned(),
            Self::Sink(_) => "消费所得的积分未能入账".to_owned(),
            Self::Held { .. } => "尚未完成的文件导入含有这些小票".to_owned(),
        };
        match std::error::Error::source(self) {
            Some(source) => format!("{said}（{source}）"),
            None => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;

    use datafusion::arrow::datatypes::DataType;
    use datafusion::arrow::error::ArrowError;
    use datafusion::error::DataFusionError;
    use datafusion::parquet::errors::ParquetError;
    use minicbor::Decode;

    use super::super::report::Sightings;
    use super::*;
    use crate::store::StoreError;
    use crate::vault::VaultError;

    fn are_both(zh: &str, en: &str) {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        assert!(zh.contains(is_chinese), "{zh} / {en}");
        assert!(!en.is_empty() && !en.contains(is_chinese), "{zh} / {en}");
    }

    /// Every kind there is: each is stored by its number.
    fn all<T: for<'b> Decode<'b, ()>>() -> Vec<T> {
        let kind = |number: u8| minicbor::decode(&minicbor::to_vec(number).unwrap()).ok();
        (0..=u8::MAX).filter_map(kind).collect()
    }

    fn differ(words: &BTreeSet<&str>, kinds: usize, least: usize) {
        assert!(kinds >= least && words.len() == kinds, "{kinds}: {words:?}");
    }

    #[test]
    fn every_reason_of_a_row_is_told_in_both_languages() {
        let reasons: Vec<DropReason> = all();
        for reason in &reasons {
            are_both(reason.zh(), &reason.to_string());
            are_both(reason.remedy_zh(), reason.remedy());
        }
        differ(&reasons.iter().map(|it| it.zh()).collect(), reasons.len(), 15);
        let adjustments: Vec<Adjustment> = all();
        for adjustment in &adjustments {
            are_both(adjustment.zh(), &adjustment.to_string());
        }
        differ(&adjustments.iter().map(|it| it.zh()).collect(), adjustments.len(), 11);
        let cells: Vec<CellProblem> = all();
        for cell in &cells {
            are_both(cell.zh(), &cell.to_string());
        }
        differ(&cells.iter().map(|it| it.zh()).collect(), cells.len(), 9);
        let mut row = Some(RowProblem::Cells { found: 7, expected: 41 });
        while let Some(problem) = row {
            are_both(&problem.zh(), &problem.to_string());
            row = match problem {
                RowProblem::Cells { .. } => Some(RowProblem::TooLong),
                RowProblem::TooLong => Some(RowProblem::NotAnObject),
                RowProblem::NotAnObject => Some(RowProblem::NotUtf8),
                RowProblem::NotUtf8 => Some(RowProblem::NotGb18030),
                RowProblem::NotGb18030 => None,
            };
        }
    }

    #[test]
    fn a_row_is_told_with_its_place_its_field_and_what_to_do() {
        let cell = Issue { place: 4, ..Issue::cell("amount", CellProblem::Missing) };
        assert_eq!(cell.zh(), "第 4 条，amount：为空；更正该单元格后导入更正的文件");
        assert_eq!(
            cell.to_string(),
            "row 4, amount: is empty; correct the cell and import the corrected file"
        );
        let problem = RowProblem::Cells { found: 2, expected: 3 };
        let broken = Issue { place: 9, counted: Counted::Lines, ..Issue::broken(problem) };
        let said = "第 9 行：有 2 个单元格，而首行有 3 个名称；更正该行后导入更正的文件";
        assert_eq!(broken.zh(), said);
        let twice = Issue { place: 5, ..Issue::row(DropReason::Duplicate) };
        assert_eq!(twice.zh(), "第 5 条：该行此前已导入；无需处理：该行只计一次");
    }

    /// What comes after one; whoever adds a kind puts it into the row.
    fn next_file(problem: &FileProblem) -> Option<FileProblem> {
        let (file, column) = ("a.csv".to_owned(), "fen".to_owned());
        let accepted = WHOLE;
        Some(match problem {
            FileProblem::Unreadable { .. } => FileProblem::UnknownFormat { file },
            FileProblem::UnknownFormat { .. } => FileProblem::NoHeader { file },
            FileProblem::NoHeader { .. } => FileProblem::TwiceNamed { file, column },
            FileProblem::TwiceNamed { .. } => {
                FileProblem::NoFile { folder: "till".to_owned(), names: file }
            }
            FileProblem::NoFile { .. } => FileProblem::NotMapped { mapping: file, part: "members" },
            FileProblem::NotMapped { .. } => {
                let source = ParquetError::General("cut".to_owned());
                FileProblem::NotParquet { file, source }
            }
            FileProblem::NotParquet { .. } => {
                let source = ArrowError::DivideByZero;
                FileProblem::Damaged { file, after_row: 41, source }
            }
            FileProblem::Damaged { .. } => FileProblem::MissingColumn { file, column, accepted },
            FileProblem::MissingColumn { .. } => {
                FileProblem::WrongType { file, column, found: DataType::Utf8, accepted }
            }
            FileProblem::WrongType { .. } => return None,
        })
    }

    fn next_facts(error: &FactsError) -> Option<FactsError> {
        Some(match error {
            FactsError::Disk(_) => ParquetError::General("cut".to_owned()).into(),
            FactsError::Encoding(_) => Box::new(DataFusionError::Internal("cut".to_owned())).into(),
            FactsError::Engine(_) => FactsError::OtherPurpose,
            FactsError::OtherPurpose => FactsError::OtherTable,
            FactsError::OtherTable => FactsError::NoMembers,
            FactsError::NoMembers => FactsError::NoCampaigns,
            FactsError::NoCampaigns => return None,
        })
    }

    fn next(error: &ImportError) -> Option<ImportError> {
        Some(match error {
            ImportError::File(_) => VaultError::OnHold.into(),
            ImportError::Vault(_) => StoreError::InUse { place: "till".to_owned() }.into(),
            ImportError::Store(_) => ImportError::Damaged { what: "basket" },
            ImportError::Damaged { .. } => ImportError::Sealing,
            ImportError::Sealing => FactsError::NoMembers.into(),
            ImportError::Facts(_) => ImportError::Sink("away".into()),
            ImportError::Sink(_) => ImportError::Held { said: Sightings::default() },
            ImportError::Held { .. } => return None,
        })
    }

    #[test]
    fn why_an_import_stopped_is_told_in_both_languages() {
        let disk = || io::Error::from(io::ErrorKind::NotFound);
        let first = FileProblem::Unreadable { file: "a.csv".to_owned(), source: disk() };
        for problem in std::iter::successors(Some(first), next_file) {
            are_both(&problem.zh(), &problem.to_string());
            for named in ["a.csv", "fen", "till", "41"] {
                let (zh, en) = (problem.zh(), problem.to_string());
                assert_eq!(zh.contains(named), en.contains(named), "{zh} / {en}: {named}");
            }
        }
        for error in std::iter::successors(Some(FactsError::Disk(disk())), next_facts) {
            are_both(error.zh(), &error.to_string());
        }
        let first = FileProblem::UnknownFormat { file: "a.csv".to_owned() };
        for error in std::iter::successors(Some(ImportError::File(first)), next) {
            are_both(&error.zh(), &error.to_string());
        }
        // what lies beneath is told with it
        let unreadable = FileProblem::Unreadable { file: "a.csv".to_owned(), source: disk() };
        let told = ImportError::from(unreadable).zh();
        assert_eq!(told, format!("a.csv：无法读取（{}）", disk()));
        for accepted in [TEXT, WHOLE, DATE, AMOUNT] {
            are_both(accepted_zh(accepted), accepted);
        }
    }
}
