use crate::{config::Output, findings::{Change, Finding}};
pub struct FindingLog { output: Output }
impl FindingLog { pub fn new(output: Output) -> Self { Self { output } } 
 pub fn tell(&mut self, change: Change, f: &Finding) { let _ = self.output; println!("{change:?} {}", serde_json::to_string_pretty(f).unwrap()); } }
