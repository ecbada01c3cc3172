//! The 28 questions of The Complete Journey's workload, as they can be asked here, or why they cannot.

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Of all brands together: masked sums, one answer.
    Joint {
        /// What the analyst writes.
        sql: &'static str,
        /// The exact answer over one brand's rows, when the text's own arithmetic on whole numbers is not
        /// what is meant.
        exact: Option<&'static str>,
    },
    /// Of every brand about its own members: a pack.
    Pack {
        /// What the analyst writes.
        sql: &'static str,
        /// As above.
        exact: Option<&'static str>,
    },
    /// It asks about people across brands, or compares members.
    Waits {
        /// For what.
        why: &'static str,
        /// What of it can be asked now.
        part: Option<&'static Form>,
    },
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Its number in the workload.
    pub id: &'static str,
    /// What it asks.
    pub title: &'static str,
    /// How.
    pub form: Form,
}

const UNION: &str = "counts people across brands: waits for the blind multiset of linked people";
const OVERLAP: &str = "asks which people two brands share: waits for pairwise overlap";
const LINKED: &str = "adds up one person's rows at several brands: waits for the blind multiset";

const fn pack(id: &'static str, title: &'static str, sql: &'static str) -> Question {
    Question { id, title, form: Form::Pack { sql, exact: None } }
}

const fn quotients(
    id: &'static str,
    title: &'static str,
    sql: &'static str,
    exact: &'static str,
) -> Question {
    Question { id, title, form: Form::Pack { sql, exact: Some(exact) } }
}

const fn waits(id: &'static str, title: &'static str, why: &'static str) -> Question {
    Question { id, title, form: Form::Waits { why, part: None } }
}

/// All of them.
pub const QUESTIONS: [Question; 28] = [
    pack(
        "Q01",
        "members of each brand",
        "SELECT brand, count(distinct member) AS members FROM members GROUP BY brand",
    ),
    waits("Q02", "distinct people in the alliance", UNION),
    Question {
        id: "Q03",
        title: "people by age band",
        form: Form::Waits {
            why: UNION,
            part: Some(&Form::Joint {
                sql: "SELECT age_band, count(distinct member) AS memberships FROM members GROUP BY age_band",
                exact: None,
            }),
        },
    },
    pack(
        "Q04",
        "revenue by department",
        "SELECT brand, department, sum(amount_fen) AS revenue, count(*) AS purchase_lines \
         FROM purchases GROUP BY brand, department",
    ),
    pack(
        "Q05",
        "revenue by brand and month",
        "SELECT brand, extract(month FROM purchased_on) AS month_no, sum(amount_fen) AS revenue \
         FROM baskets GROUP BY brand, extract(month FROM purchased_on)",
    ),
    pack(
        "Q06",
        "revenue by department and month, the five largest",
        "SELECT brand, department, extract(month FROM purchased_on) AS month_no, sum(amount_fen) AS revenue \
         FROM purchases WHERE department IN ('GROCERY', 'DRUG GM', 'FUEL', 'PRODUCE', 'MEAT') \
         GROUP BY brand, department, extract(month FROM purchased_on)",
    ),
    waits("Q07", "active people per month", UNION),
    pack(
        "Q08",
        "active members per brand and month",
        "SELECT brand, extract(month FROM purchased_on) AS month_no, count(distinct member) AS active_members \
         FROM baskets GROUP BY brand, extract(month FROM purchased_on)",
    ),
    quotients(
        "Q09",
        "average basket value per brand",
        "SELECT brand, count(*) AS baskets, sum(amount_fen) AS revenue, avg(amount_fen) AS avg_basket \
         FROM baskets GROUP BY brand",
        "SELECT count(*), sum(amount_fen), avg(cast(amount_fen AS double)) FROM baskets",
    ),
    waits("Q10", "average yearly spend by household size", LINKED),
    quotients(
        "Q11",
        "repeat rate per brand",
        "SELECT brand, count(distinct member) AS members, avg(CASE WHEN n >= 2 THEN 1 ELSE 0 END) AS repeat_rate \
         FROM (SELECT member, count(*) AS n FROM baskets GROUP BY member) AS x GROUP BY brand",
        "SELECT count(distinct member), avg(CASE WHEN n >= 2 THEN 1.0 ELSE 0.0 END) \
         FROM (SELECT member, count(*) AS n FROM baskets GROUP BY member) AS x",
    ),
    waits("Q12", "month-over-month retention", LINKED),
    waits("Q13", "overlap of each pair of brands", OVERLAP),
    waits("Q14", "spend in A of members of B", OVERLAP),
    waits("Q15", "people by number of brands", LINKED),
    waits("Q16", "redemption rate by campaign type", LINKED),
    pack(
        "Q17",
        "redemptions by brand and campaign type",
        "SELECT brand, campaign_type, count(*) AS redemptions, count(distinct member) AS redeeming_members \
         FROM redemptions GROUP BY brand, campaign_type",
    ),
    pack(
        "Q18",
        "baskets with a coupon, per brand",
        "SELECT brand, count(*) AS baskets, sum(CASE WHEN coupon_fen > 0 THEN 1 ELSE 0 END) AS coupon_baskets, \
         sum(coupon_fen) AS coupon_discount FROM baskets GROUP BY brand",
    ),
    Question {
        id: "Q19",
        title: "spend by income band",
        form: Form::Waits {
            why: UNION,
            part: Some(&Form::Joint {
                sql: "SELECT income_band, sum(amount_fen) AS spend FROM members JOIN baskets \
                      ON members.member = baskets.member GROUP BY income_band",
                exact: None,
            }),
        },
    },
    quotients(
        "Q20",
        "loyalty discount as a share of revenue, per quarter",
        "SELECT brand, extract(quarter FROM purchased_on) AS quarter_no, sum(loyalty_fen) / sum(amount_fen) AS share \
         FROM baskets GROUP BY brand, extract(quarter FROM purchased_on)",
        "SELECT extract(quarter FROM purchased_on), \
         cast(sum(loyalty_fen) AS double) / cast(sum(amount_fen) AS double) \
         FROM baskets GROUP BY extract(quarter FROM purchased_on)",
    ),
    waits("Q21", "campaign 18: spend of contacted and not contacted", LINKED),
    waits("Q22", "in grocer_one in Q1 and in fuel_stop in Q2", OVERLAP),
    Question {
        id: "Q23",
        title: "lapsed members per brand",
        form: Form::Waits {
            why: UNION,
            part: Some(&Form::Pack {
                sql: "SELECT brand, sum(CASE WHEN first_half >= 1 AND fourth < 1 THEN 1 ELSE 0 END) AS lapsed_members \
                      FROM (SELECT member, \
                      sum(CASE WHEN purchased_on < DATE '2017-07-01' THEN 1 ELSE 0 END) AS first_half, \
                      sum(CASE WHEN purchased_on >= DATE '2017-10-01' THEN 1 ELSE 0 END) AS fourth \
                      FROM baskets GROUP BY member) AS x GROUP BY brand",
                exact: None,
            }),
        },
    },
    waits("Q24", "ten categories with the most buyers", LINKED),
    waits("Q25", "histogram of yearly spend per person", LINKED),
    quotients(
        "Q26",
        "private-label share of revenue per brand",
        "SELECT brand, sum(CASE WHEN label = 'Private' THEN amount_fen ELSE 0 END) / sum(amount_fen) AS share \
         FROM purchases GROUP BY brand",
        "SELECT cast(sum(CASE WHEN label = 'Private' THEN amount_fen ELSE 0 END) AS double) \
         / cast(sum(amount_fen) AS double) FROM purchases",
    ),
    Question {
        id: "Q27",
        title: "baskets by hour of the day",
        form: Form::Joint {
            sql: "SELECT hour_no, count(*) AS baskets FROM baskets GROUP BY hour_no",
            exact: None,
        },
    },
    waits("Q28", "median and 90th percentile of yearly spend", LINKED),
];

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTITUTION: &str =
        include_str!("../../../../../alliance-config/formats/v0/constitution.toml");

    fn sql(form: &Form) -> Option<&'static str> {
        match form {
            Form::Joint { sql, .. } | Form::Pack { sql, .. } => Some(*sql),
            Form::Waits { part, .. } => part.and_then(sql),
        }
    }

    /// What docs/usefulness.md says of a node as shipped, whose contract is not that of this bench.
    #[test]
    fn under_the_contract_of_the_sample_two_are_answered_as_they_are_written() {
        let constitution = alliance_config::Constitution::parse(CONSTITUTION.as_bytes()).unwrap();
        let contract = constitution.clean_room().unwrap().contract();
        let bound = |question: &&Question| {
            sql(&question.form).is_some_and(|sql| privacy::sql::bind(contract, sql).is_ok())
        };
        let answered: Vec<&str> = QUESTIONS.iter().filter(bound).map(|it| it.id).collect();
        assert_eq!(answered, ["Q04", "Q06"]);
    }
}
