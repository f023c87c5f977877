//! The report as one page that needs nothing else: for who decides whether training data may leave the house.

use std::fmt::Write;

use super::{Attack, CAVEAT, Example, Flow, Form, PictureError, Report, Standing, Target, View, bytes, number, table, text};

/// A reconstructed number counts as the same within this part of the larger of 1 and its size.
const SAME: f64 = 1e-3;

/// The whole page.
///
/// # Errors
/// If a picture of the report cannot be encoded.
pub fn page(report: &Report) -> Result<String, PictureError> {
    let mut out = String::new();
    let name = escape(&report.program.name);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Audit of {name}</title><style>\n{}</style></head>\n<body><header><p class=\"kind\">Privacy audit</p><h1>What could the training server find out?</h1>\
         <p class=\"about\"><b>{name}</b> &middot; {}</p></header>\n",
        include_str!("page.css"),
        escape(&report.program.about)
    );
    let mood = if report.server_learns() || report.flow.agreement.as_ref().is_some_and(|a| !a.agrees) { "bad" } else { "good" };
    let _ = writeln!(out, "<main><section class=\"summary {mood}\"><p>{}</p></section>", escape(&report.summary));
    for warning in &report.warnings {
        let _ = writeln!(out, "<section class=\"warning\"><p><b>Warning.</b> {}</p></section>", escape(warning));
    }
    out.push_str(
        "<section class=\"intro\"><p>Who trains on data that belongs to others usually receives <em>gradients</em>: directions in which the network should \
         change. Published attacks compute back from a gradient what the robot saw, what it did and what it was paid for it. This page runs those attacks on \
         your program twice: on the gradients as they would be shared without encryption, and on all that the server receives with it. \
         Beside each figure stands what an attacker reaches who sees nothing and guesses.</p>",
    );
    for note in &report.notes {
        let _ = write!(out, "<p>{}</p>", escape(note));
    }
    out.push_str("</section>\n");
    for attack in &report.attacks {
        one(attack, &mut out)?;
    }
    flow(&report.flow, &mut out);
    let _ = write!(
        out,
        "</main>\n<footer><p>{}</p><p>hecc audit, report version {} &middot; seed {} &middot; {:.0} s &middot; fingerprint <code>{}</code></p></footer></body></html>\n",
        escape(CAVEAT),
        report.version,
        report.seed,
        report.seconds,
        escape(&report.program.fingerprint)
    );
    Ok(out)
}

fn one(attack: &Attack, out: &mut String) -> Result<(), PictureError> {
    let gradients = if attack.samples == 1 { "gradient" } else { "gradients" };
    let batch = if attack.batch == 1 { "one sample in each".to_owned() } else { format!("{} samples in each", attack.batch) };
    let _ = write!(
        out,
        "<section class=\"attack\"><h2>{} <span>on {}</span></h2><p class=\"does\">{}. {} {gradients}, {batch}.</p><p class=\"chips\">",
        attack.method.name(),
        escape(&attack.variant),
        attack.method.does(),
        attack.samples
    );
    for attempt in &attack.targets {
        let class = match attempt.standing {
            Standing::Guessing => "good",
            Standing::Better => "part",
            Standing::GivenAway => "bad",
        };
        let _ = write!(out, "<span class=\"{class}\"><b>{}</b> {}</span>", escape(&attempt.target.name()), attempt.standing.words());
    }
    let _ = writeln!(out, "</p><p class=\"verdict\">{}</p>", escape(&attack.verdict));
    if let Some((first, rest)) = attack.examples.split_first() {
        shown(first, out)?;
        if !rest.is_empty() {
            let samples = if rest.len() == 1 { "sample" } else { "samples" };
            let _ = write!(out, "<details><summary>{} more {samples}</summary>", rest.len());
            rest.iter().try_for_each(|example| shown(example, out))?;
            out.push_str("</details>");
        }
    }
    metrics(attack, out);
    let _ = writeln!(out, "<p class=\"source\">Published as: <cite>{}</cite></p></section>", attack.method.source());
    Ok(())
}

fn shown(example: &Example, out: &mut String) -> Result<(), PictureError> {
    let _ = write!(out, "<div class=\"example\"><h3>{}</h3><div class=\"views\">", escape(&example.label));
    if !example.original.pictures.is_empty() {
        figure("original", "What the robot saw", &example.original, out)?;
        for (target, view) in &example.reconstructed {
            figure(if target.is_encrypted() { "sealed" } else { "open" }, &from(target), view, out)?;
        }
    }
    out.push_str("</div>");
    numbers(example, out);
    out.push_str("</div>\n");
    Ok(())
}

fn from(target: &Target) -> String {
    match target {
        Target::ClearGradients => "From the gradients".to_owned(),
        Target::Ciphertexts => "From the ciphertexts".to_owned(),
        Target::WrongKey => "With a wrong key".to_owned(),
        Target::DecryptedUpdate => "From a decrypted update".to_owned(),
        Target::GuardedGradients { .. } => format!("From {}", target.name()),
    }
}

fn figure(class: &str, title: &str, view: &View, out: &mut String) -> Result<(), PictureError> {
    let _ = write!(out, "<figure class=\"{class}\"><figcaption>{}</figcaption><div class=\"pictures\">", escape(title));
    for picture in &view.pictures {
        let kind = if picture.planes == 1 { "depth" } else { "colours" };
        let _ = write!(out, "<div class=\"picture\"><img alt=\"{}: {kind}\" src=\"{}\">", escape(title), picture.address()?);
        if let Some(frame) = view.frame {
            let [left, top, right, bottom] = frame.map(|v| if v.is_finite() { 100.0 * v.clamp(0.0, 1.0) } else { 0.0 });
            if right > left && bottom > top {
                let (wide, high) = (right - left, bottom - top);
                let _ = write!(out, "<i style=\"left:{left:.2}%;top:{top:.2}%;width:{wide:.2}%;height:{high:.2}%\"></i>");
            }
        }
        out.push_str("</div>");
    }
    let _ = write!(out, "</div><p>{}</p></figure>", escape(&view.caption));
    Ok(())
}

/// The numbers of a sample, beside what was reconstructed of them. The same ones are marked.
fn numbers(example: &Example, out: &mut String) {
    if example.original.numbers.is_empty() {
        return;
    }
    out.push_str("<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th><th>original");
    for (target, _) in &example.reconstructed {
        let _ = write!(out, "<th>{}", escape(&from(target).to_lowercase()));
    }
    out.push_str("</tr></thead><tbody>");
    for (name, value) in &example.original.numbers {
        let figures = |value: f64| if name == "action" && value.is_finite() { format!("{value:.0}") } else { figures(value) };
        let _ = write!(out, "<tr><th scope=\"row\">{}<td>{}", escape(name), figures(*value));
        for (_, view) in &example.reconstructed {
            match view.numbers.iter().find(|(other, _)| other == name) {
                Some((_, found)) if (found - value).abs() <= SAME * value.abs().max(1.0) => {
                    let _ = write!(out, "<td class=\"same\">{}", figures(*found));
                }
                Some((_, found)) => {
                    let _ = write!(out, "<td>{}", figures(*found));
                }
                None => out.push_str("<td>-"),
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div><p class=\"key\">Marked: the number that it was, within a thousandth.</p>");
}

/// Four digits after the point, unless the number is too large for that.
fn figures(value: f64) -> String {
    // Zero has no sign.
    let value = if value.abs() < 5e-5 { 0.0 } else { value };
    if value.is_finite() && value.abs() < 1e4 { format!("{value:.4}") } else { number(value) }
}

fn metrics(attack: &Attack, out: &mut String) {
    out.push_str("<div class=\"scroll\"><table class=\"metrics\"><thead><tr><th>");
    for attempt in &attack.targets {
        let _ = write!(out, "<th>{}", escape(&attempt.target.name()));
    }
    out.push_str("<th class=\"guess\">guessing</tr></thead><tbody>");
    for row in table::rows(attack) {
        let _ = write!(out, "<tr><th scope=\"row\">{}<small>{}</small>", row.name, row.explains);
        for cell in row.cells {
            let class = if cell.beats == Some(true) { " class=\"beats\"" } else { "" };
            let _ = write!(out, "<td{class}>{}", escape(&cell.text));
        }
        let _ = write!(out, "<td class=\"guess\">{}</tr>", escape(&row.guess));
    }
    let _ = writeln!(
        out,
        "</tbody></table></div><p class=\"key\">Marked: more than guessing reaches (one false alarm in a thousand comparisons). Guessing: {}.</p>",
        escape(&attack.guessing.how)
    );
}

fn flow(flow: &Flow, out: &mut String) {
    out.push_str("<section class=\"flow\"><h2>What the server sees, by the plan</h2><p class=\"does\">Read off the compiled program, without running it.</p>");
    out.push_str("<div class=\"scroll\"><table><thead><tr><th>what<th>in which form<th>size<th>how often</tr></thead><tbody>");
    for seen in &flow.sees {
        let class = match seen.form {
            Form::Ciphertext => "sealed",
            Form::Public => "public",
            Form::Data => "open",
        };
        let _ = write!(
            out,
            "<tr><td>{}<td><span class=\"{class}\">{}</span><td>{}<td>{}</tr>",
            escape(&seen.what),
            text::form(seen.form).to_lowercase(),
            seen.bytes.map_or_else(String::new, bytes),
            escape(&seen.often)
        );
    }
    out.push_str("</tbody></table></div>");
    if !flow.secret.is_empty() {
        let names = flow.secret.iter().map(|name| format!("<code>{}</code>", escape(name))).collect::<Vec<_>>().join(", ");
        let _ = write!(out, "<p>It has no key for {names}.</p>");
    }
    if let Some(agreement) = &flow.agreement {
        let (class, words) =
            if agreement.agrees { ("good", "Plan and measurement agree.") } else { ("bad", "Plan and measurement do not agree.") };
        let _ = write!(out, "<p class=\"agreement {class}\"><b>{words}</b> {}</p>", escape(&agreement.why));
    }
    out.push_str("</section>\n");
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
