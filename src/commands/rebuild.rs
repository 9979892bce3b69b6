//! `datanode rebuild`.

use super::global::Global;
use crate::failure::{Code, Done, Failure};
use crate::wiring::{of_store, store_options};
use datanode_schema::paths::DataDir;
use datanode_schema::{store, trees};

/// Makes the state again from its journal; the damaged one is set aside, never deleted.
///
/// # Errors
/// Exit 6 while a node runs, 3 where nothing can be proved.
pub fn rebuild(g: &Global) -> Done {
    let settings = g.settings()?;
    let data = DataDir::new(settings.data_dir.clone());
    store::refuse_newer(&data.state()).map_err(of_store)?;
    let report = store::rebuild(&data.state(), &trees::all(), &store_options(&settings)).map_err(of_store)?;
    store::mark(&data.state()).map_err(of_store)?;
    // An empty state is no state that was made again: who begins with it asks for everything once more, and forgets what cannot be asked.
    let nothing = report.incomplete.is_some() && report.root.commit == 0;
    if nothing {
        report.steps.iter().for_each(|s| eprintln!("{s}"));
        return Err(Failure::new(
            Code::Integrity,
            format!(
                "nothing of the journal can be read: the state is EMPTY now, the old one lies in {}. Bring the newest backup: move {} away, then \
                 `datanode backup restore --to {} --fill`; without a backup `datanode nightly` begins anew and asks vendors for everything",
                report.set_aside.display(),
                data.state().display(),
                data.root().display()
            ),
        ));
    }
    if g.json {
        println!(
            "{}",
            serde_json::json!({"steps": report.steps, "set_aside": report.set_aside, "incomplete": report.incomplete})
        );
        return Ok(());
    }
    for s in &report.steps {
        println!("{s}");
    }
    println!("the old state lies in {}", report.set_aside.display());
    if let Some(why) = &report.incomplete {
        println!(
            "incomplete: {why}; run `datanode nightly`: what is not remembered is asked for again. A backup may reach further: `datanode backup list`"
        );
    }
    Ok(())
}
