Feature: AppArmor has nothing to refuse

  A quiet log proves nothing by itself. It counts if it was readable to the end of the window,
  lost no record, and shows a denial that was provoked on purpose.

  @id:denials @node @container @mutates @req:VAL-4 @req:STEP-2.3
  Scenario: Starting the container and running Docker is denied nothing
    Given the container is running
    And AppArmor's log is watched
    When the container is restarted
    And hello-world is run
    Then the log was watched to its end, and AppArmor denied the container nothing
    And it greets and exits with 0

  @id:units @container @req:STEP-2.3
  Scenario: The guest starts without units that AppArmor made fail
    Given the container is running
    Then no unit of the guest has failed but those that fail without AppArmor, too
