//! `rackwright apply` and `rackwright node rebuild`: the two that erase a disk.

use fleet::view::{JobRow, PlanView};
use serde_json::json;

use crate::cli::{ApplyArgs, Choice, Course, Word};
use crate::failure::{Failure, exit};
use crate::follow::{self, Stream};
use crate::plan;
use crate::proof;
use crate::session::Session;

/// Applies a plan that was looked at before.
pub(crate) async fn apply(session: &mut Session, arguments: ApplyArgs) -> Result<u8, Failure> {
    let ApplyArgs { plan: id, word, course } = arguments;
    let plan = session.client.get(&plan::path(&id)).await?.item::<PlanView>()?;
    // Where a person decides now, the person sees now what is decided.
    if word.confirm.is_none() && session.terminal.asks {
        session.note(&plan::render_steps(&plan));
    }
    carry_out(session, &plan, word, course).await
}

/// Plans, shows, asks and applies.
pub(crate) async fn rebuild(
    session: &mut Session,
    node: &str,
    choice: &Choice,
    word: Word,
    course: Course,
) -> Result<u8, Failure> {
    if word.confirm.is_none() && !session.terminal.asks {
        // Before a plan is made: it would withdraw another one for nothing.
        return Err(Failure::Unconfirmed {
            what: format!("rebuilding erases the system disk of {node}, and nobody can be asked"),
            next: format!("see what would be erased: rackwright node plan {node}; then give --confirm NAME"),
        });
    }
    let plan = crate::node::make_plan(session, node, choice).await?.item::<PlanView>()?;
    session.note(&plan::render_steps(&plan));
    carry_out(session, &plan, word, course).await
}

async fn carry_out(
    session: &mut Session,
    plan: &PlanView,
    word: Word,
    course: Course,
) -> Result<u8, Failure> {
    let Course { waiting, no_proof } = course;
    let name = confirmed(session, plan, word.confirm)?;
    let path = format!("{}/apply", plan::path(&plan.id));
    let answer = session.client.post(&path, &json!({ "confirm": name, "force": word.force })).await?;
    let job = answer.item::<JobRow>()?;
    if waiting.no_wait {
        session.note(&format!("job {} has begun; rackwright job watch {}", job.id, job.id));
        session.show(&answer, |_, _| Ok(format!("{}\n", job.id)))?;
        return Ok(exit::OK);
    }
    session.note(&format!("job {} has begun; Ctrl-C leaves it to itself", job.id));
    let code = follow::follow(session, &job.id, Some(waiting.timeout), Stream::Nothing).await?;
    if code != exit::OK {
        return Ok(code);
    }
    if session.json() {
        let last = session.client.get(&follow::path(&job.id)).await?;
        session.show(&last, |_, _| Ok(String::new()))?;
    } else if plan.kind == "rebuild" && !no_proof {
        return proof::prove(session, &plan.node, waiting.timeout).await;
    }
    Ok(exit::OK)
}

/// The node's name, typed now or given by `--confirm`; anything else and nothing happens.
fn confirmed(session: &mut Session, plan: &PlanView, given: Option<String>) -> Result<String, Failure> {
    let nothing = format!("nothing has been changed; the plan is still there: rackwright apply {}", plan.id);
    let unconfirmed = |what: String, next: String| Err(Failure::Unconfirmed { what, next });
    let name = match given {
        Some(name) => name,
        None if session.terminal.asks => {
            let question =
                format!("This erases {} of {}. Type the node's name to continue: ", plan.disk, plan.node);
            session.ask(&question)?.unwrap_or_default()
        }
        None => {
            return unconfirmed(
                format!("this erases {} of {}, and nobody can be asked", plan.disk, plan.node),
                format!("rackwright apply {} --confirm {}", plan.id, plan.node),
            );
        }
    };
    if name == plan.node {
        return Ok(name);
    }
    unconfirmed(format!("{name:?} is not the node of this plan, {}", plan.node), nothing)
}
