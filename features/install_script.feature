Feature: The Docker installation script installs fuse-overlayfs

  It runs on the node and enters the container. Pasted literally, the plan's lines would install
  fuse-overlayfs on the hypervisor and overwrite the user's daemon.json.

  @id:script @default_plan @node @phoenix @req:STEP-3.1
  Scenario: The script carries the plan's changes
    Then the install script stops at the first error
    And the install script installs fuse-overlayfs only where it is missing
    And every command for the container runs in the container

  @id:installed @default_plan @container @req:STEP-3.1
  Scenario: What the script does is done, in the container
    Given the container is running
    Then "fuse-overlayfs" is installed in the container and not on the node
    And daemon.json names the storage driver "fuse-overlayfs"

  @id:settings @default_plan @container @req:STEP-3.1
  Scenario: The user's own Docker settings survive
    Given the container is running
    Then daemon.json kept the user's other settings
