"""Actions, plan, rollback and journal. Nothing here knows of Docker or AppArmor."""
