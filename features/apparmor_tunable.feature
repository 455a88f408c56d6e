Feature: The node carries the nesting tunable

  The plan writes it; nothing reads it. It is judged as written, and nesting by its effect.

  @id:setup @default_plan @node @phoenix @req:STEP-1.1
  Scenario: The setup script carries the tunable
    Then the setup script writes the tunable before it reloads AppArmor

  @id:tunable @default_plan @node @req:STEP-1.2
  Scenario: The tunable is on the node
    Then the tunable on the node is "@{apparmor_nesting_profiles} = lxc-phoenix-v2"

  @id:reloaded @default_plan @node @req:STEP-1.3
  Scenario: AppArmor was reloaded
    Then AppArmor was loaded after the tunable was written

  @id:loads @node @req:STEP-1.4
  Scenario: AppArmor loads without an error
    Then AppArmor's last load logged no error
