//! `datanode rebuild`.

use super::global::Global;
use crate::failure::Done;
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
        println!("incomplete: {why}; run `datanode nightly`: what is not remembered is asked for again");
    }
    Ok(())
}
