//! Saved questions: those that ship with the project, and files of this brand's own.
//!
//! A brand's own are `templates/NAME.toml` in its data directory, in the form of the shipped ones; one of
//! the same name takes the shipped one's place. They are read anew each time, and a file that is wrong is
//! an error that says so.

use std::collections::BTreeMap;
use std::path::Path;

use alliance_config::questions::{
    ParameterKind, TEMPLATE_MAX_BYTES, Template, TemplateError, TemplateKind, TemplateScope, Words,
    by_brand, shipped,
};
use privacy::Contract;

use crate::service::{
    Bilingual, ErrorKind, FilledTemplate, ParameterView, Scope, ServiceError, TemplateView,
};

/// Most files of a brand's own.
const OWN_MAX: usize = 200;

/// All templates, in the order of their names, each with whether it is the brand's own.
///
/// # Errors
/// When an own file cannot be read, or is no template.
pub fn all(folder: &Path) -> Result<Vec<(Template, bool)>, ServiceError> {
    let shipped = shipped().map_err(|error| invalid(&error))?;
    let mut all: BTreeMap<String, (Template, bool)> =
        shipped.into_iter().map(|template| (template.id.clone(), (template, false))).collect();
    for template in own(folder)? {
        all.insert(template.id.clone(), (template, true));
    }
    Ok(all.into_values().collect())
}

fn own(folder: &Path) -> Result<Vec<Template>, ServiceError> {
    let unreadable = |problem: std::io::Error| {
        ServiceError::new(
            ErrorKind::Unavailable,
            "templates_unreadable",
            format!("the folder templates cannot be read: {problem}"),
            "let the operator look at the data directory",
        )
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut templates = Vec::new();
    for entry in entries.take(OWN_MAX) {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let size = std::fs::metadata(&path).map_err(unreadable)?.len();
        if size > TEMPLATE_MAX_BYTES as u64 {
            let problem = format!("more than {TEMPLATE_MAX_BYTES} bytes");
            return Err(invalid(&TemplateError { id, problem }));
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        templates.push(Template::parse(&id, &text).map_err(|error| invalid(&error))?);
    }
    Ok(templates)
}

/// One of them by its name.
///
/// # Errors
/// When there is none such.
pub fn one(folder: &Path, id: &str) -> Result<Template, ServiceError> {
    let mut all = all(folder)?;
    match all.iter().position(|(template, _)| template.id == id) {
        Some(place) => Ok(all.swap_remove(place).0),
        None => Err(ServiceError::new(
            ErrorKind::NotFound,
            "template_unknown",
            "there is no template of this name / 没有该名称的模板",
            "see `coalition templates list` / 请查看 `coalition templates list`",
        )),
    }
}

/// A template with its parameters filled in, for one of its scopes: the first unless another is chosen.
///
/// # Errors
/// When a parameter is not what it may be, or the template has no such scope.
pub fn filled(
    template: &Template,
    contract: &Contract,
    scope: Option<Scope>,
    parameters: Vec<(String, String)>,
) -> Result<FilledTemplate, ServiceError> {
    let scopes: Vec<Scope> = template.scopes.iter().copied().map(scope_of).collect();
    let chosen = scope.or_else(|| scopes.first().copied()).filter(|scope| scopes.contains(scope));
    let Some(chosen) = chosen else {
        let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        return Err(ServiceError::new(
            ErrorKind::Invalid,
            "template_scope",
            format!("template {}: it is asked as {}", template.id, names.join(" or ")),
            "choose one of these scopes / 请选择所列范围之一",
        ));
    };
    let sql = template
        .fill(contract, &parameters.into_iter().collect())
        .map_err(|error| invalid(&error))?;
    let sql = if chosen == Scope::Pack { by_brand(&sql) } else { sql };
    let usual = contract.rho_per_question().get();
    let pico_rho = usual.saturating_mul(u64::from(template.cost_percent)) / 100;
    Ok(FilledTemplate { sql, scope: chosen, pico_rho })
}

/// Whether the brand's own staff may have it exactly.
#[must_use]
pub const fn is_for_staff(template: &Template) -> bool {
    matches!(template.kind, TemplateKind::Dashboard | TemplateKind::Comparison)
}

const fn scope_of(scope: TemplateScope) -> Scope {
    match scope {
        TemplateScope::Joint => Scope::Joint,
        TemplateScope::Local => Scope::Local,
        TemplateScope::Pack => Scope::Pack,
    }
}

fn words(words: &Words) -> Bilingual {
    Bilingual { zh: words.zh.clone(), en: words.en.clone() }
}

/// A template as people see it.
#[must_use]
pub fn view(template: &Template, own: bool, contract: &Contract) -> TemplateView {
    let parameters = template.parameters.iter().map(|parameter| ParameterView {
        name: parameter.name.clone(),
        words: words(&parameter.words),
        kind: match &parameter.kind {
            ParameterKind::Value { column } => format!("value of {column}"),
            ParameterKind::Day => "day".to_owned(),
            ParameterKind::Number { least, greatest } => {
                format!("whole number from {least} to {greatest}")
            }
        },
        default: parameter.default_under(contract),
        choices: parameter.choices(contract),
    });
    TemplateView {
        id: template.id.clone(),
        title: words(&template.title),
        note: words(&template.note),
        kind: template.kind.name().to_owned(),
        scopes: template.scopes.iter().copied().map(scope_of).collect(),
        cost_percent: u32::from(template.cost_percent),
        parameters: parameters.collect(),
        sql: template.sql.clone(),
        exact: is_for_staff(template),
        own,
        absent: template.absent(contract).into_iter().map(str::to_owned).collect(),
    }
}

fn invalid(error: &TemplateError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "template_invalid",
        error.to_string(),
        "see `coalition templates show NAME` for what it takes / 请用 `coalition templates show NAME` 查看所需参数",
    )
}
