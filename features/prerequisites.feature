Feature: What the plan asks for before anything is changed

  Nothing is changed here. Only on the lab of this very run, which has nothing worth keeping and
  so no backups, they are made before they are judged.

  @id:container-backup @node @container @req:PRE-1
  Scenario: The container has a backup that is recent and was finished
    Given the backups on the node are listed
    Then a recent backup of the container was finished, and is whole if it was read to its end

  @id:node-backup @node @req:PRE-1
  Scenario: The node's configuration has a backup that is recent and can be read
    Given the backups on the node are listed
    Then a recent backup of the node's configuration can be read to its end

  @id:repository @default_plan @node @phoenix @req:PRE-2
  Scenario: The repository is current, and changed by nobody but the plan
    Given the repository is asked for its state
    Then it is a checkout, changed in nothing but what the plan changes
    And it stands at its upstream's commit

  @id:root @node @req:PRE-3
  Scenario: The node lets us in as root
    Given the node is asked as whom it lets us in
    Then commands on the node run as root, and no password was asked for

  @id:neighbours @node @container @req:PRE-4
  Scenario: No other container is taken by surprise
    Given the containers that the change reaches are known
    Then each other one under the profile is stopped, or may be restarted

  @id:log @node @req:PRE-5
  Scenario: The audit log is there, has room, and shows what is denied
    Given AppArmor's log is watched
    Then its file system has room for the records of a start
    And a denial provoked on purpose shows in it
